"""Samplers: from noise to image along a grid of noise levels.

They solve the probability flow dx/dsigma = (x - D(x; sigma)) / sigma (EDM,
arXiv 2206.00364, equation 3), but for `consistency`, to which D is the end of
that flow. Each is one `lax.scan` that carries no more than it must; its last
step, to sigma = 0, comes out as D itself.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lowdiff_jax.diffusion import noise
from lowdiff_jax.types import Array, Condition, Denoiser


def _scan(step, carry, per_step, trajectory):
  """The image, first of what `step` carries, and the estimates if wanted."""

  def body(carry, inputs):
    carry, clean = step(carry, inputs)
    return carry, clean if trajectory else None

  carry, estimates = jax.lax.scan(body, carry, per_step)
  return carry[0], estimates


def _level(sigma: Array, noisy: Array) -> Array:
  return jnp.full(noisy.shape[0], sigma)


def _fresh(keys, index, shape):
  """The noise of step `index`, each image's from its own key."""
  step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, index)
  return noise.normal_per_image(step_keys, shape)


def euler(
  denoise: Denoiser,
  keys: Array,
  noisy: Array,
  sigmas: Array,
  cond: Condition,
  *,
  trajectory: bool = False,
) -> tuple[Array, Array | None]:
  """Euler's method, order 1; see `types.Sampler`."""
  del keys
  sigmas = jnp.asarray(sigmas, jnp.float32)

  def step(carry, levels):
    (x,), (sigma, sigma_next) = carry, levels
    clean = denoise(x, _level(sigma, x), cond)
    # No difference of large numbers: a flow starts at a huge sigma.
    kept = sigma_next / sigma
    return (kept * x + (1 - kept) * clean,), clean

  return _scan(step, (noisy,), (sigmas[:-1], sigmas[1:]), trajectory)


def heun(
  denoise: Denoiser,
  keys: Array,
  noisy: Array,
  sigmas: Array,
  cond: Condition,
  *,
  trajectory: bool = False,
  churn: float = 0.0,
  churn_min: float = 0.0,
  churn_max: float = np.inf,
  churn_noise: float = 1.0,
) -> tuple[Array, Array | None]:
  """Heun's method, order 2, with EDM's churn (algorithm 2).

  A step first raises the noise level to sigma (1 + gamma), with
  gamma = min(churn / N, sqrt(2) - 1) where churn_min <= sigma <= churn_max.

  Args:
    denoise, keys, noisy, sigmas, cond, trajectory: see `types.Sampler`.
    churn: S_churn; 0 is the deterministic sampler.
    churn_min: S_tmin.
    churn_max: S_tmax.
    churn_noise: S_noise, the std of the added noise.

  Returns:
    See `types.Sampler`.
  """
  sigmas = jnp.asarray(sigmas, jnp.float32)
  num_steps = sigmas.shape[0] - 1
  churned = (churn_min <= sigmas) & (sigmas <= churn_max)
  gamma = jnp.where(churned, min(churn / num_steps, np.sqrt(2) - 1), 0.0)
  sigmas_hat = sigmas * (1 + gamma)

  def stir(x, index):
    if churn == 0:
      return x
    added = jnp.sqrt(sigmas_hat[index] ** 2 - sigmas[index] ** 2)
    return x + churn_noise * added * _fresh(keys, index, x.shape[1:])

  def step(carry, inputs):
    (x,), (index, sigma_hat, sigma_next) = carry, inputs
    x = stir(x, index)
    slope = (x - denoise(x, _level(sigma_hat, x), cond)) / sigma_hat
    x_next = x + (sigma_next - sigma_hat) * slope
    clean = denoise(x_next, _level(sigma_next, x), cond)
    slope_next = (x_next - clean) / sigma_next
    x = x + (sigma_next - sigma_hat) * (slope + slope_next) / 2
    return (x,), clean

  per_step = (jnp.arange(num_steps - 1), sigmas_hat[:-2], sigmas[1:-1])
  x, estimates = _scan(step, (noisy,), per_step, trajectory)
  # There is no slope at sigma = 0: the last step is Euler's.
  x = stir(x, num_steps - 1)
  clean = denoise(x, _level(sigmas_hat[-2], x), cond)
  if trajectory:
    estimates = jnp.concatenate([estimates, clean[None]])
  return clean, estimates


def dpmpp_2m(
  denoise: Denoiser,
  keys: Array,
  noisy: Array,
  sigmas: Array,
  cond: Condition,
  *,
  trajectory: bool = False,
) -> tuple[Array, Array | None]:
  """DPM-Solver++(2M), order 2 at one evaluation a step.

  With h_i = ln(sigma_i / sigma_{i+1}) and w = h_i / (2 h_{i-1})
  (arXiv 2211.01095, algorithm 2, for alpha = 1):
    x_{i+1} = e^{-h_i} x_i + (1 - e^{-h_i}) ((1 + w) D_i - w D_{i-1});
  the first step, and the last one, are of first order: w = 0.

  Args and Returns: see `types.Sampler`.
  """
  del keys
  sigmas = jnp.asarray(sigmas, jnp.float32)
  h = jnp.diff(-jnp.log(sigmas))  # The last one is infinite.
  w = jnp.zeros_like(h).at[1:-1].set(h[1:-1] / (2 * h[:-2]))

  def step(carry, inputs):
    (x, clean_before), (sigma, h, w) = carry, inputs
    clean = denoise(x, _level(sigma, x), cond)
    target = (1 + w) * clean - w * clean_before
    return (jnp.exp(-h) * x - jnp.expm1(-h) * target, clean), clean

  carry = (noisy, jnp.zeros_like(noisy))
  return _scan(step, carry, (sigmas[:-1], h, w), trajectory)


def consistency(
  denoise: Denoiser,
  keys: Array,
  noisy: Array,
  sigmas: Array,
  cond: Condition,
  *,
  trajectory: bool = False,
) -> tuple[Array, Array | None]:
  """Jumps to the image and adds noise of the next level.

  x_{i+1} = D(x_i; sigma_i) + sigma_{i+1} eps_i (arXiv 2303.01469, algorithm 1,
  for sigma_min = 0), for a denoiser of `loss.StageLoss.consistency`. Where D is
  the mean of the clean images instead, what it returns is too smooth.

  Args and Returns: see `types.Sampler`.
  """
  sigmas = jnp.asarray(sigmas, jnp.float32)

  def step(carry, inputs):
    (x,), (index, sigma, sigma_next) = carry, inputs
    clean = denoise(x, _level(sigma, x), cond)
    return (clean + sigma_next * _fresh(keys, index, x.shape[1:]),), clean

  per_step = (jnp.arange(sigmas.shape[0] - 1), sigmas[:-1], sigmas[1:])
  return _scan(step, (noisy,), per_step, trajectory)


SAMPLERS: dict[str, Callable] = {
  "euler": euler,
  "heun": heun,
  "dpmpp_2m": dpmpp_2m,
  "consistency": consistency,
}
