"""Resampling of feature maps by 2."""

from typing import Any

import jax
import jax.numpy as jnp

from lowdiff_jax.types import Array


def halve(x: Array, taps: tuple[int, ...], *, padded: bool = True) -> Array:
  """Downsamples by 2: filters with outer(taps, taps), keeps every other pixel.

  Args:
    x: [B,H,W,C].
    taps: filter, normalised here; (1, 1) averages 2x2 pixels.
    padded: whether to pad with zeros; without, x must include a margin of
      (len(taps) - 1) // 2 pixels on each side.

  Returns:
    [B,H/2,W/2,C].
  """
  if taps == (1, 1):
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4))
  margin = (len(taps) - 1) // 2 if padded else 0
  return _filter(x, taps, strides=(2, 2), padding=[(margin, margin)] * 2)


def double(x: Array, taps: tuple[int, ...]) -> Array:
  """Upsamples by 2: inserts zeros, filters with 4 outer(taps, taps).

  Args:
    x: [B,H,W,C].
    taps: filter, normalised here; (1, 1) repeats pixels 2x2.

  Returns:
    [B,2H,2W,C].
  """
  if taps == (1, 1):
    return jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)
  margin = len(taps) - 1 - (len(taps) - 1) // 2
  padding = [(margin, margin)] * 2
  return 4 * _filter(x, taps, lhs_dilation=(2, 2), padding=padding)


def _filter(
  x: Array,
  taps: tuple[int, ...],
  *,
  strides: tuple[int, int] = (1, 1),
  **kwargs: Any,
) -> Array:
  """Convolves each channel with outer(taps, taps) / sum(taps)^2."""
  kernel = jnp.outer(jnp.asarray(taps, x.dtype), jnp.asarray(taps, x.dtype))
  kernel = (kernel / kernel.sum())[:, :, None, None]
  channels = x.shape[-1]
  return jax.lax.conv_general_dilated(
    x,
    jnp.tile(kernel, (1, 1, 1, channels)),
    strides,
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
    feature_group_count=channels,
    **kwargs,
  )
