"""Layers that the backbones share."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from lowdiff_jax.interfaces import Array


def xavier_uniform(gain: float = 1.0) -> Callable:
  """gain * U(-a, a) with a = sqrt(6 / (fan_in + fan_out)); gain 0: zeros."""
  if gain == 0:
    return nn.initializers.zeros
  return nn.initializers.variance_scaling(gain**2, "fan_avg", "uniform")


def zero_tail(init: Callable, tail: int) -> Callable:
  """`init` for a kernel whose last `tail` input channels start at zero.

  What enters through those channels then changes nothing until it is trained.
  """

  def initialise(key, shape, dtype=jnp.float32):
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


def conv(features: int, kernel: int = 3, *, gain: float = 1.0, **kwargs: Any):
  """A same-size convolution with EDM's initialisation."""
  kwargs.setdefault("kernel_init", xavier_uniform(gain))
  return nn.Conv(features, (kernel, kernel), **kwargs)


def group_norm(channels: int, name: str) -> nn.GroupNorm:
  """EDM's group norm, in float32: at least 4 channels and at most 32 groups."""
  groups = min(32, channels // 4)
  return nn.GroupNorm(groups, epsilon=1e-6, dtype=jnp.float32, name=name)


def halve(x: Array) -> Array:
  """Averages 2x2 pixels: [B,H,W,C] -> [B,H/2,W/2,C]."""
  b, h, w, c = x.shape
  return x.reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4))


def double(x: Array) -> Array:
  """Repeats pixels 2x2: [B,H,W,C] -> [B,2H,2W,C]."""
  return jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)


class SelfAttention(nn.Module):
  """Attention over the pixels; its output is scaled, not yet added.

  The qkv channels are laid out as EDM publishes them: head, head channel, then
  q, k, v fastest.
  """

  num_heads: int = 1
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    b, h, w, c = x.shape
    normed = group_norm(c, "norm2")(x).astype(self.dtype)
    qkv = conv(3 * c, 1, gain=0.2**0.5, dtype=self.dtype, name="qkv")(normed)
    qkv = qkv.reshape(b, h * w, self.num_heads, c // self.num_heads, 3)
    out = jax.nn.dot_product_attention(*jnp.moveaxis(qkv, -1, 0))
    out = out.reshape(b, h, w, c)
    return conv(c, 1, gain=1e-5, dtype=self.dtype, name="proj")(out)
