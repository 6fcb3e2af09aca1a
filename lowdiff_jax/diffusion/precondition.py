"""How a network F becomes a denoiser D; see `types.Preconditioning`."""

import jax.numpy as jnp

from lowdiff_jax.types import Array, Preconditioning


def edm(sigma: Array, *, sigma_data: float) -> Preconditioning:
  """EDM's preconditioning (arXiv 2206.00364, table 1).

  Network input and training target have unit variance at every sigma when the
  data has standard deviation sigma_data.

  Args:
    sigma: noise levels, any shape, > 0 (0 only where c_noise is not used).
    sigma_data: standard deviation of the clean images.

  Returns:
    The four coefficients, each of sigma's shape.
  """
  variance = sigma**2 + sigma_data**2
  return Preconditioning(
    c_skip=sigma_data**2 / variance,
    c_out=sigma * sigma_data / jnp.sqrt(variance),
    c_in=1 / jnp.sqrt(variance),
    c_noise=jnp.log(sigma) / 4,
  )


def flow(sigma: Array) -> Preconditioning:
  """The flow from noise to data of LightningDiT (arXiv 2501.01423).

  With t = 1 / (1 + sigma), the network sees x_t = t x + (1 - t) eps, which is
  t (x + sigma eps), and its output is the velocity v = x - eps, so that
  D = x_t + (1 - t) v. The time it is told runs from noise (0) to data (1).

  Args:
    sigma: noise levels, any shape.

  Returns:
    The four coefficients, each of sigma's shape.
  """
  t = 1 / (1 + sigma)
  return Preconditioning(c_skip=t, c_out=sigma * t, c_in=t, c_noise=t)
