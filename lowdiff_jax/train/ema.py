"""The moving average of the parameters, with its half-life in images."""

from typing import Any

import jax
import jax.numpy as jnp

from lowdiff_jax.types import Array


def decay(
  images_seen: Array, batch_size: int, *, half_life: float, ramp: float
) -> Array:
  """0.5^(batch_size / h) with h = min(half_life, ramp * images_seen).

  EDM (arXiv 2206.00364, appendix F.2): early on, the average forgets what the
  network was when it was random.

  Args:
    images_seen: images trained on so far.
    batch_size: images of this step.
    half_life: in images.
    ramp: largest half-life as a share of images_seen; inf for none.

  Returns:
    The share of the average that is kept.
  """
  seen = images_seen.astype(jnp.float32)
  # inf * 0 is not a number.
  ramped = seen * ramp if ramp < jnp.inf else half_life
  return 0.5 ** (batch_size / jnp.minimum(half_life, ramped))


def update(average: Any, params: Any, kept: Array) -> Any:
  """kept * average + (1 - kept) * params."""
  return jax.tree.map(lambda a, p: p + kept * (a - p), average, params)
