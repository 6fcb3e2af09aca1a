"""The exact denoiser of Gaussian data, and where its flow ends."""

import jax.numpy as jnp
import numpy as np

MEAN, STD = 0.3, 0.7


def denoise(noisy, sigma, cond):
  """E[x | noisy] for x ~ N(MEAN, STD^2)."""
  del cond
  sigma = sigma[:, None, None, None]
  return MEAN + STD**2 / (STD**2 + sigma**2) * (noisy - MEAN)


def exact(noisy, sigma_start):
  """The probability flow from sigma_start to 0, in closed form."""
  return MEAN + STD / jnp.sqrt(STD**2 + sigma_start**2) * (noisy - MEAN)


def noisy(sigma_start, shape=(2, 4, 4, 1)):
  """Samples of the noisy data."""
  normal = np.random.default_rng(0).standard_normal(shape)
  scale = np.sqrt(STD**2 + sigma_start**2)
  return jnp.asarray(MEAN + scale * normal, jnp.float32)
