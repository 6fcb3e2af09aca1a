"""Layers that the backbones share."""

import functools
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from lowdiff_jax.types import Array


def xavier_uniform(gain: float = 1.0) -> Callable:
  """gain * U(-a, a) with a = sqrt(6 / (fan_in + fan_out)); gain 0: zeros."""
  if gain == 0:
    return nn.initializers.zeros
  return nn.initializers.variance_scaling(gain**2, "fan_avg", "uniform")


def zero_tail(init: Callable, tail: int) -> Callable:
  """`init` for a kernel whose last `tail` input channels start at zero.

  What enters through those channels then changes nothing until it is trained.
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

  The embedding of DDPM++ with EDM's order of sine and cosine.

  Args:
    value: [B].
    features: an even number of at least 4.

  Returns:
    [B, features] float32.
  """
  half = features // 2
  frequencies = 10000.0 ** (-jnp.arange(half) / (half - 1))
  angles = value.astype(jnp.float32)[:, None] * frequencies
  return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=1)


class FourierEmbedding(nn.Module):
  """[sin(2 pi value f_i), cos(2 pi value f_i)], f_i ~ N(0, 16^2), fixed.

  The embedding of NCSN++; the frequencies are ported with the parameters and
  never trained.
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
  """A same-size convolution with EDM's initialisation."""
  kwargs.setdefault("kernel_init", xavier_uniform(gain))
  return nn.Conv(features, (kernel, kernel), **kwargs)


def group_norm(channels: int, name: str) -> nn.GroupNorm:
  """EDM's group norm, in float32: at least 4 channels and at most 32 groups."""
  groups = min(32, channels // 4)
  return nn.GroupNorm(groups, epsilon=1e-6, dtype=jnp.float32, name=name)


def attention(
  query: Array, key: Array, value: Array, *, capability: str | None = None
) -> Array:
  """softmax(q k^T / sqrt(D)) v, the softmax in float32.

  Args:
    query, key, value: [B,T,heads,D].
    capability: of the NVIDIA GPU that runs it, as "9.0"; None for any other
      device.

  Returns:
    [B,T,heads,D], from cuDNN's fused kernel where it has one.
  """
  fused = cudnn_attends(capability, query.dtype, query.shape[-1])
  return jax.nn.dot_product_attention(
    query, key, value, implementation="cudnn" if fused else "xla"
  )


def fused_attention(device: jax.Device) -> Callable[..., Array]:
  """`attention` by the fastest kernel of the device that will run it."""
  capability = getattr(device, "compute_capability", None)
  return functools.partial(attention, capability=capability)


def cudnn_attends(capability: str | None, dtype: Any, size: int) -> bool:
  """Whether cuDNN's fused attention takes heads of this size.

  Args:
    capability: of an NVIDIA GPU, as "9.0"; None for any other device.
    dtype: of the heads.
    size: of a head.

  Returns:
    True for 16 bits on Ampere up to 128 channels, on Hopper up to 256.
  """
  version = re.fullmatch(r"(\d+)\.\d+", capability or "")
  if version is None:
    return False
  major = int(version[1])
  largest = 0 if major < 8 else 128 if major < 9 else 256
  return jnp.dtype(dtype).itemsize == 2 and size <= largest and size % 8 == 0


def halve(x: Array, taps: tuple[int, ...], *, padded: bool = True) -> Array:
  """Filters with outer(taps, taps) and keeps every other pixel.

  Args:
    x: [B,H,W,C].
    taps: of the filter, normalised here; (1, 1) averages 2x2 pixels.
    padded: whether zeros around the image keep the size at H/2; without them x
      must bring a margin of (len(taps) - 1) // 2 itself.

  Returns:
    [B,H/2,W/2,C].
  """
  if taps == (1, 1):
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4))
  margin = (len(taps) - 1) // 2 if padded else 0
  return _filter(x, taps, strides=(2, 2), padding=[(margin, margin)] * 2)


def double(x: Array, taps: tuple[int, ...]) -> Array:
  """Puts zeros between pixels and filters: [B,H,W,C] -> [B,2H,2W,C].

  Args:
    x: [B,H,W,C].
    taps: of the filter, normalised here; (1, 1) repeats pixels 2x2.

  Returns:
    [B,2H,2W,C], of the same mean.
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
  """A convolution of each channel with outer(taps, taps) / sum(taps)^2."""
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
