"""The noisy low-resolution condition, in training and in sampling.

Noise of known level on the condition (Cascaded Diffusion, arXiv 2106.15282,
section 4.2, "conditioning augmentation") keeps a stage from trusting what the
stage before got wrong.
"""

import jax

from lowdiff_jax.types import Array, Condition


def noisy_condition(
  low_res: Array, sigma: Array, eps: Array, label: Array | None
) -> Condition:
  """The condition low_res + sigma eps, with its noise level.

  Args:
    low_res: [B,h,w,C] images one resolution lower.
    sigma: [B] std of the noise, in the units of the image.
    eps: [B,h,w,C] standard normal noise.
    label: [B] classes, or None.

  Returns:
    The condition.
  """
  noisy = low_res + sigma[:, None, None, None] * eps
  return Condition(label=label, low_res=noisy, low_res_sigma=sigma)


def draw_condition(
  key: Array,
  low_res: Array | None,
  label: Array | None,
  sigma_range: tuple[float, float],
) -> Condition:
  """A condition to train on: low_res + s eps with s ~ U(a, b).

  Args:
    key: for s and eps.
    low_res: [B,h,w,C] clean images one resolution lower; None in stage 0.
    label: [B] classes, or None.
    sigma_range: a and b, the smallest std and the largest.

  Returns:
    The condition; without an image in stage 0.
  """
  if low_res is None:
    return Condition(label=label)
  sigma_key, eps_key = jax.random.split(key)
  low, high = sigma_range
  sigma = low + (high - low) * jax.random.uniform(sigma_key, low_res.shape[:1])
  eps = jax.random.normal(eps_key, low_res.shape)
  return noisy_condition(low_res, sigma, eps, label)
