"""Building blocks of LightningDiT, with the published module names."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from lowdiff_jax.models import layers, position
from lowdiff_jax.types import Array

_XAVIER = layers.xavier_uniform()


class Block(nn.Module):
  """x += gate f(norm(x) (1 + scale) + shift) for f = attention, then SwiGLU."""

  num_heads: int
  mlp_features: int
  qk_norm: bool
  dtype: Any
  attention: Callable[..., Array]

  @nn.compact
  def __call__(
    self, carry: tuple[Array, Array], emb: Array, rotation: tuple[Array, Array]
  ) -> tuple[tuple[Array, Array], None]:
    """One step of a scan over blocks.

    Args:
      carry: tokens [B,T,C] and their `mean_square`.
      emb: of the image, [B,1,C].
      rotation: see `position.rotary_table`.

    Returns:
      The carry for the next block, and no output.
    """
    x, square = carry
    c = x.shape[-1]
    modulation = jnp.split(_modulation(6 * c)(emb), 6, axis=-1)
    shift1, scale1, gate1, shift2, scale2, gate2 = modulation
    attend = RotaryAttention(
      self.num_heads, self.qk_norm, self.dtype, self.attention, name="attn"
    )
    h = RMSNorm(name="norm1")(x, square) * (1 + scale1) + shift1
    x = (x + gate1 * attend(h, rotation)).astype(x.dtype)
    h = RMSNorm(name="norm2")(x, mean_square(x)) * (1 + scale2) + shift2
    h = SwiGLU(self.mlp_features, self.dtype, name="mlp")(h)
    x = (x + gate2 * h).astype(x.dtype)
    # XLA computes it with the sum; in the next block it would read x again.
    return (x, mean_square(x)), None


class RotaryAttention(nn.Module):
  """Self-attention with rotary position embeddings.

  Parameters are stored as published; queries and keys are computed with their
  channels in the order of `position.halves`.
  """

  num_heads: int
  qk_norm: bool
  dtype: Any
  attention: Callable[..., Array]

  @nn.compact
  def __call__(self, x: Array, rotation: tuple[Array, Array]) -> Array:
    b, t, c = x.shape
    head = (self.num_heads, c // self.num_heads)
    halves = position.halves(head[1])
    columns = np.arange(3 * c).reshape(3, *head)
    columns[:2] = columns[:2, :, halves]
    parts = _Linears(3, head, self.dtype, name="qkv")
    query, key, value = parts(x, columns.ravel())
    if self.qk_norm:
      query, key = (
        RMSNorm(name=name)(h, mean_square(h), halves)
        for name, h in (("q_norm", query), ("k_norm", key))
      )
    query, key = (
      position.rotate(h, *rotation).astype(self.dtype) for h in (query, key)
    )
    out = self.attention(query, key, value).reshape(b, t, c)
    return _dense(c, self.dtype, "proj")(out)


class SwiGLU(nn.Module):
  """W3 (silu(W1 x) * W2 x); W1 and W2 are one matrix, "w12"."""

  features: int
  dtype: Any

  @nn.compact
  def __call__(self, x: Array) -> Array:
    gate, h = _Linears(2, (self.features,), self.dtype, name="w12")(x)
    return _dense(x.shape[-1], self.dtype, "w3")(jax.nn.silu(gate) * h)


def mean_square(x: Array) -> Array:
  """The mean of x^2 over the last axis, kept, in float32."""
  return jnp.square(x.astype(jnp.float32)).mean(-1, keepdims=True)


class RMSNorm(nn.Module):
  """scale x / sqrt(mean_square(x) + 1e-6), in float32."""

  @nn.compact
  def __call__(
    self, x: Array, square: Array, channels: np.ndarray | None = None
  ) -> Array:
    """The norm of x, given its mean square and the order of its channels."""
    scale = self.param("scale", nn.initializers.ones, x.shape[-1:])
    scale = scale if channels is None else scale[channels]
    return x.astype(jnp.float32) * jax.lax.rsqrt(square + 1e-6) * scale


class _Linears(nn.Module):
  """Linear layers of one input, whose kernels are stored side by side.

  Each is a product of its own: to split the product of all of them copies it,
  and so does its gradient.

  Attributes:
    count: how many there are.
    shape: of the features of each.
    dtype: of the products.
  """

  count: int
  shape: tuple[int, ...]
  dtype: Any

  @nn.compact
  def __call__(
    self, x: Array, columns: np.ndarray | None = None
  ) -> list[Array]:
    """Maps [B,T,C] to `count` arrays of [B,T,*shape].

    Args:
      x: the input.
      columns: of the stored kernel, in the order that they are used in.

    Returns:
      The outputs.
    """
    c, size = x.shape[-1], self.count * math.prod(self.shape)
    kernel = self.param("kernel", _XAVIER, (c, size))
    bias = self.param("bias", nn.initializers.zeros, (size,))
    x, kernel, bias = (h.astype(self.dtype) for h in (x, kernel, bias))
    if columns is not None:
      kernel, bias = kernel[:, columns], bias[columns]
    kernel = kernel.reshape(c, self.count, *self.shape)
    bias = bias.reshape(self.count, *self.shape)
    return [
      jnp.tensordot(x, kernel[:, i], 1) + bias[i] for i in range(self.count)
    ]


class TimeEmbedding(nn.Module):
  """An MLP on [cos(t f_i), sin(t f_i)], f_i = 10000^(-i/128), i < 128."""

  features: int

  @nn.compact
  def __call__(self, t: Array) -> Array:
    init = nn.initializers.normal(0.02)
    angles = position.phases(t.astype(jnp.float32), 128)
    emb = jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)
    emb = nn.Dense(self.features, kernel_init=init, name="mlp_0")(emb)
    return nn.Dense(self.features, kernel_init=init, name="mlp_2")(
      jax.nn.silu(emb)
    )


class FinalLayer(nn.Module):
  """Modulated norm and a zero-initialised linear layer."""

  features: int
  dtype: Any

  @nn.compact
  def __call__(self, x: Array, emb: Array) -> Array:
    modulation = _modulation(2 * x.shape[-1])(emb)
    shift, scale = jnp.split(modulation, 2, axis=-1)
    x = RMSNorm(name="norm_final")(x, mean_square(x)) * (1 + scale) + shift
    linear = _dense(self.features, self.dtype, "linear", nn.initializers.zeros)
    return linear(x).astype(jnp.float32)


def _dense(
  features: int, dtype: Any, name: str, init: Callable[..., Array] = _XAVIER
) -> nn.Dense:
  return nn.Dense(features, kernel_init=init, dtype=dtype, name=name)


def _modulation(features: int) -> nn.Dense:
  return _dense(features, jnp.float32, "adaLN", nn.initializers.zeros)
