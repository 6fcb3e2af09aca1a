"""Noise: levels to train on, grids of levels to sample on, and the draws."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

from lowdiff_jax.interfaces import Array


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


def lognormal_sigmas(
  key: Array, count: int, p_mean: float, p_std: float
) -> Array:
  """[count] levels with ln(sigma) ~ N(p_mean, p_std^2) (EDM, table 1)."""
  return jnp.exp(p_mean + p_std * jax.random.normal(key, (count,)))


def lognormal_quantiles(count: int, p_mean: float, p_std: float) -> np.ndarray:
  """[count] levels in the middle of equally likely parts of the lognormal."""
  middles = (np.arange(count) + 0.5) / count
  return np.exp(p_mean + p_std * norm.ppf(middles))


def image_keys(seed: int, indices: Array) -> Array:
  """[B] keys that depend on (seed, index) alone, whatever the batch."""
  return jax.vmap(jax.random.fold_in, (None, 0))(
    jax.random.key(seed), jnp.asarray(indices)
  )


def normal_per_image(keys: Array, shape: tuple[int, ...]) -> Array:
  """Standard normal [B, *shape]; image i's noise depends on keys[i] alone."""
  return jax.vmap(lambda key: jax.random.normal(key, shape))(keys)
