"""Samplers: from noise to image along a grid of noise levels.

They solve the probability flow dx/dsigma = (x - D(x; sigma)) / sigma (EDM,
arXiv 2206.00364, equation 3). Each is one loop (`steps.run`) that carries no
more than it must; its last step, to sigma = 0, comes out as D itself.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from lowdiff_jax.diffusion import noise, steps
from lowdiff_jax.types import AnyArray, Array, Condition, Denoiser

# Schedules that one program serves have up to so many levels; few have more.
_PADDED = 128


@dataclasses.dataclass(frozen=True)
class Sampler:
  """A solver with its settings: hashable, so equal ones share a program.

  A new one is a frozen dataclass with a name and `__call__`; an entry in
  `SAMPLERS` lets configs name it.

  Attributes:
    name: in configs and tables.
    any_steps: whether it takes `num_steps`.
  """

  name: ClassVar[str] = ""
  any_steps: ClassVar[bool] = False

  def __call__(
    self,
    denoise: Denoiser,
    keys: Array,
    noisy: Array,
    sigmas: AnyArray,
    cond: Condition,
    *,
    trajectory: bool = False,
    num_steps: Array | None = None,
  ) -> tuple[Array, Array | None]:
    """Integrates from noise level sigmas[0] to sigmas[-1] = 0.

    Args:
      denoise: the denoiser.
      keys: [B] one key per image, for samplers that add noise.
      noisy: [B,H,W,C] images at noise level sigmas[0].
      sigmas: [N+1] strictly decreasing noise levels, the last one 0.
      cond: the condition for the denoiser.
      trajectory: also return the clean estimate at each step.
      num_steps: N, where further entries of `sigmas` are not used and one
        program serves all N; then there is no trajectory. A solver without
        `any_steps` need not have it.

    Returns:
      Images [B,H,W,C], and the estimates [N,B,H,W,C] or None.
    """
    raise NotImplementedError

  def levels(self, sigmas: np.ndarray) -> np.ndarray:
    """The noise levels at which D is evaluated; by default once a step."""
    return np.asarray(sigmas[:-1])

  def padded(self, sigmas: AnyArray) -> AnyArray:
    """The levels, with zeros up to a power of two if any number will do."""
    if not self.any_steps:
      return sigmas
    length = max(_PADDED, 2 ** math.ceil(math.log2(len(sigmas))))
    return np.pad(np.asarray(sigmas), (0, length - len(sigmas)))

  def settings(self) -> dict[str, Any]:
    """The settings by name; empty if all have their defaults."""
    return {} if self == type(self)() else dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Euler(Sampler):
  """Euler's method, order 1."""

  name: ClassVar[str] = "euler"
  any_steps: ClassVar[bool] = True

  def __call__(
    self,
    denoise: Denoiser,
    keys: Array,
    noisy: Array,
    sigmas: AnyArray,
    cond: Condition,
    *,
    trajectory: bool = False,
    num_steps: Array | None = None,
  ) -> tuple[Array, Array | None]:
    """See `Sampler`."""
    del keys
    count = len(sigmas) - 1 if num_steps is None else num_steps
    sigmas = jnp.asarray(sigmas, jnp.float32)

    def step(carry: Any, levels: Any) -> tuple[Any, Array]:
      (x,), (sigma, sigma_next) = carry, levels
      clean = denoise(x, _level(sigma, x), cond)
      # No difference of large numbers: a flow starts at a huge sigma.
      kept = sigma_next / sigma
      return (kept * x + (1 - kept) * clean,), clean

    per_step = (sigmas[:-1], sigmas[1:])
    return steps.run(step, (noisy,), per_step, count, trajectory)


@dataclasses.dataclass(frozen=True)
class Heun(Sampler):
  """Heun's method, order 2, with EDM's churn (algorithm 2).

  A step first raises the noise level to sigma (1 + gamma), with
  gamma = min(churn / N, sqrt(2) - 1) where churn_min <= sigma <= churn_max.

  Attributes:
    churn: S_churn; 0 is the deterministic sampler.
    churn_min: S_tmin.
    churn_max: S_tmax.
    churn_noise: S_noise, the std of the added noise.
  """

  name: ClassVar[str] = "heun"
  any_steps: ClassVar[bool] = True
  churn: float = 0.0
  churn_min: float = 0.0
  churn_max: float = math.inf
  churn_noise: float = 1.0

  def __call__(
    self,
    denoise: Denoiser,
    keys: Array,
    noisy: Array,
    sigmas: AnyArray,
    cond: Condition,
    *,
    trajectory: bool = False,
    num_steps: Array | None = None,
  ) -> tuple[Array, Array | None]:
    """See `Sampler`."""
    count = len(sigmas) - 1 if num_steps is None else num_steps
    sigmas = jnp.asarray(sigmas, jnp.float32)
    sigmas_hat = self._raised(sigmas, count)

    def stir(x: Array, index: Array | int) -> Array:
      if self.churn == 0:
        return x
      added = jnp.sqrt(sigmas_hat[index] ** 2 - sigmas[index] ** 2)
      return x + self.churn_noise * added * _fresh(keys, index, x.shape[1:])

    def step(carry: Any, inputs: Any) -> tuple[Any, Array]:
      (x,), (index, sigma_hat, sigma_next) = carry, inputs
      x = stir(x, index)
      slope = (x - denoise(x, _level(sigma_hat, x), cond)) / sigma_hat
      x_next = x + (sigma_next - sigma_hat) * slope
      clean = denoise(x_next, _level(sigma_next, x), cond)
      slope_next = (x_next - clean) / sigma_next
      x = x + (sigma_next - sigma_hat) * (slope + slope_next) / 2
      return (x,), clean

    per_step = (jnp.arange(len(sigmas) - 1), sigmas_hat[:-1], sigmas[1:])
    x, estimates = steps.run(step, (noisy,), per_step, count - 1, trajectory)
    # There is no slope at sigma = 0: the last step is Euler's.
    x = stir(x, count - 1)
    clean = denoise(x, _level(sigmas_hat[count - 1], x), cond)
    if trajectory:
      estimates = jnp.concatenate([jnp.asarray(estimates), clean[None]])
    return clean, estimates

  def levels(self, sigmas: np.ndarray) -> np.ndarray:
    """Two evaluations a step, and one in the last."""
    levels = jnp.asarray(sigmas, jnp.float32)
    raised = self._raised(levels, len(levels) - 1)
    return np.concatenate([raised[:-1], levels[1:-1]])

  def _raised(self, sigmas: Array, count: int | Array) -> Array:
    churned = (self.churn_min <= sigmas) & (sigmas <= self.churn_max)
    gamma = jnp.minimum(self.churn / count, math.sqrt(2) - 1)
    return sigmas * (1 + jnp.where(churned, gamma, 0.0))


@dataclasses.dataclass(frozen=True)
class DPMpp2M(Sampler):
  """DPM-Solver++(2M), order 2 at one evaluation a step.

  With h_i = ln(sigma_i / sigma_{i+1}) and w = h_i / (2 h_{i-1})
  (arXiv 2211.01095, algorithm 2, for alpha = 1):
    x_{i+1} = e^{-h_i} x_i + (1 - e^{-h_i}) ((1 + w) D_i - w D_{i-1});
  the first step, and the last one, are of first order: w = 0.
  """

  name: ClassVar[str] = "dpmpp_2m"
  any_steps: ClassVar[bool] = True

  def __call__(
    self,
    denoise: Denoiser,
    keys: Array,
    noisy: Array,
    sigmas: AnyArray,
    cond: Condition,
    *,
    trajectory: bool = False,
    num_steps: Array | None = None,
  ) -> tuple[Array, Array | None]:
    """See `Sampler`."""
    del keys
    count = len(sigmas) - 1 if num_steps is None else num_steps
    sigmas = jnp.asarray(sigmas, jnp.float32)
    h = jnp.diff(-jnp.log(sigmas))  # The last step's is infinite.
    w = jnp.where(sigmas[2:] > 0, h[1:], 0.0) / (2 * h[:-1])
    w = jnp.concatenate([jnp.zeros(1), w])

    def step(carry: Any, inputs: Any) -> tuple[Any, Array]:
      (x, clean_before), (sigma, h, w) = carry, inputs
      clean = denoise(x, _level(sigma, x), cond)
      target = (1 + w) * clean - w * clean_before
      return (jnp.exp(-h) * x - jnp.expm1(-h) * target, clean), clean

    carry = (noisy, jnp.zeros_like(noisy))
    return steps.run(step, carry, (sigmas[:-1], h, w), count, trajectory)


# Samplers that configs can name.
SAMPLERS: dict[str, Callable[..., Sampler]] = {
  "euler": Euler,
  "heun": Heun,
  "dpmpp_2m": DPMpp2M,
}


def _level(sigma: Array, noisy: Array) -> Array:
  return jnp.full(noisy.shape[0], sigma)


def _fresh(keys: Array, index: Array | int, shape: tuple[int, ...]) -> Array:
  """The noise of step `index`, each image's from its own key."""
  step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, index)
  return noise.normal_per_image(step_keys, shape)
