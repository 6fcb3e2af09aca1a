"""Noise: levels to train on, grids of levels to sample on, and the draws."""

from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np

from lowdiff_jax.types import AnyArray, Array


def karras_sigmas(
  num_steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0
) -> np.ndarray:
  """EDM's grid of noise levels (arXiv 2206.00364, equation 5).

  sigma_i = (a + i/(N-1) (b - a))^rho for i < N, with a = sigma_max^(1/rho) and
  b = sigma_min^(1/rho), and sigma_N = 0.

  Args:
    num_steps: N >= 1.
    sigma_min: sigma_{N-1}.
    sigma_max: sigma_0.
    rho: how strongly the levels crowd towards sigma_min.

  Returns:
    [N+1] float64, strictly decreasing; the last entry is exactly 0.
  """
  root = np.linspace(sigma_max ** (1 / rho), sigma_min ** (1 / rho), num_steps)
  return np.append(root**rho, 0.0)


def flow_sigmas(
  num_steps: int, sigma_max: float, shift: float = 1.0
) -> np.ndarray:
  """A uniform grid of times, shifted, as noise levels.

  With tau uniform from tau_0 to 0, sigma = shift tau / (1 - tau): the fraction
  of noise 1 - t = sigma / (1 + sigma) is shift tau / (1 + (shift - 1) tau)
  (SD3, arXiv 2403.03206, equation 23). LightningDiT counts time from noise to
  data, where the same shift is called 1 / shift.

  Args:
    num_steps: N >= 1.
    sigma_max: sigma_0, which fixes tau_0; pure noise would be infinite.
    shift: above 1 for more steps at high noise.

  Returns:
    [N+1] float64, strictly decreasing; the last entry is exactly 0.
  """
  tau = np.linspace(sigma_max / (shift + sigma_max), 0.0, num_steps + 1)
  return shift * tau / (1 - tau)


def lognormal_sigmas(
  key: Array, count: int, p_mean: float, p_std: float
) -> Array:
  """[count] levels with ln(sigma) ~ N(p_mean, p_std^2) (EDM, table 1).

  The fraction of noise sigma / (1 + sigma) is then logit-normal (SD3, arXiv
  2403.03206, equation 19): a flow draws its times here too.
  """
  return jnp.exp(p_mean + p_std * jax.random.normal(key, (count,)))


def lognormal_quantiles(count: int, p_mean: float, p_std: float) -> np.ndarray:
  """[count] levels in the middle of equally likely parts of the lognormal."""
  normal = [NormalDist().inv_cdf((i + 0.5) / count) for i in range(count)]
  return np.exp(p_mean + p_std * np.asarray(normal))


def image_keys(seed: int | Array, indices: AnyArray) -> Array:
  """[B] keys that depend on (seed, index) alone, whatever the batch."""
  return jax.vmap(jax.random.fold_in, (None, 0))(
    jax.random.key(seed), jnp.asarray(indices)
  )


def normal_per_image(keys: Array, shape: tuple[int, ...]) -> Array:
  """Standard normal [B, *shape]; image i's noise depends on keys[i] alone."""
  return jax.vmap(lambda key: jax.random.normal(key, shape))(keys)
