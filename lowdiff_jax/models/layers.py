"""Layers shared by the backbones."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from lowdiff_jax.types import Array

# (key, shape, dtype) -> parameter.
Initializer = Callable[..., Array]


def xavier_uniform(gain: float = 1.0) -> Initializer:
  """gain U(-a, a) with a = sqrt(6 / (fan_in + fan_out)); zeros for gain 0."""
  if gain == 0:
    return nn.initializers.zeros
  return nn.initializers.variance_scaling(gain**2, "fan_avg", "uniform")


def zero_tail(init: Initializer, tail: int) -> Initializer:
  """`init`, except that the last `tail` input channels start at zero.

  An untrained network then ignores these channels.
  """

  def initialise(
    key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32
  ) -> Array:
    head = (*shape[:-2], shape[-2] - tail, shape[-1])
    kernel = init(key, head, dtype)
    return jnp.pad(kernel, [(0, 0)] * (len(shape) - 2) + [(0, tail), (0, 0)])

  return initialise


def positional_embedding(value: Array, features: int) -> Array:
  """[sin(value f_i), cos(value f_i)], f_i = 10000^(-i/(features/2 - 1)).

  DDPM++'s embedding with EDM's order of sine and cosine.

  Args:
    value: [B].
    features: even, at least 4.

  Returns:
    [B, features] float32.
  """
  half = features // 2
  frequencies = 10000.0 ** (-jnp.arange(half) / (half - 1))
  angles = value.astype(jnp.float32)[:, None] * frequencies
  return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=1)


class FourierEmbedding(nn.Module):
  """[sin(2 pi value f_i), cos(2 pi value f_i)], f_i ~ N(0, 16^2), fixed.

  NCSN++'s embedding. The frequencies are stored with the parameters, so that
  published weights bring theirs, and are never trained.
  """

  features: int

  @nn.compact
  def __call__(self, value: Array) -> Array:
    init = nn.initializers.normal(16.0)
    frequencies = self.param("freqs", init, (self.features // 2,))
    frequencies = jax.lax.stop_gradient(frequencies)
    angles = 2 * jnp.pi * value.astype(jnp.float32)[:, None] * frequencies
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=1)


def conv(
  features: int, kernel: int = 3, *, gain: float = 1.0, **kwargs: Any
) -> nn.Conv:
  """A convolution with EDM's initialisation, padded to keep the size."""
  kwargs.setdefault("kernel_init", xavier_uniform(gain))
  return nn.Conv(features, (kernel, kernel), **kwargs)


def group_norm(channels: int, name: str) -> nn.GroupNorm:
  """EDM's group norm, float32; at most 32 groups, of at least 4 channels."""
  groups = min(32, channels // 4)
  return nn.GroupNorm(groups, epsilon=1e-6, dtype=jnp.float32, name=name)


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
