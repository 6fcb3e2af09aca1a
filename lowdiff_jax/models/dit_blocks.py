"""Building blocks of LightningDiT, with the published module names."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
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
    self, x: Array, emb: Array, rotation: tuple[Array, Array]
  ) -> tuple[Array, None]:
    """Returns [B,T,C] and None, the output per step that `nn.scan` expects."""
    c = x.shape[-1]
    modulation = jnp.split(_modulation(6 * c)(emb), 6, axis=-1)
    shift1, scale1, gate1, shift2, scale2, gate2 = modulation
    attend = RotaryAttention(
      self.num_heads, self.qk_norm, self.dtype, self.attention, name="attn"
    )
    h = _rms_norm("norm1")(x) * (1 + scale1) + shift1
    x = x + gate1 * attend(h, rotation)
    h = _rms_norm("norm2")(x) * (1 + scale2) + shift2
    x = x + gate2 * SwiGLU(self.mlp_features, self.dtype, name="mlp")(h)
    return x, None


class RotaryAttention(nn.Module):
  """Self-attention with rotary position embeddings."""

  num_heads: int
  qk_norm: bool
  dtype: Any
  attention: Callable[..., Array]

  @nn.compact
  def __call__(self, x: Array, rotation: tuple[Array, Array]) -> Array:
    b, t, c = x.shape
    qkv = _dense(3 * c, self.dtype, "qkv")(x)
    qkv = qkv.reshape(b, t, 3, self.num_heads, c // self.num_heads)
    query, key, value = jnp.moveaxis(qkv, 2, 0)
    if self.qk_norm:
      query, key = _rms_norm("q_norm")(query), _rms_norm("k_norm")(key)
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
    gate, h = jnp.split(_dense(2 * self.features, self.dtype, "w12")(x), 2, -1)
    return _dense(x.shape[-1], self.dtype, "w3")(jax.nn.silu(gate) * h)


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
    x = _rms_norm("norm_final")(x) * (1 + scale) + shift
    linear = _dense(self.features, self.dtype, "linear", nn.initializers.zeros)
    return linear(x).astype(jnp.float32)


def _dense(
  features: int, dtype: Any, name: str, init: Callable[..., Array] = _XAVIER
) -> nn.Dense:
  return nn.Dense(features, kernel_init=init, dtype=dtype, name=name)


def _modulation(features: int) -> nn.Dense:
  return _dense(features, jnp.float32, "adaLN", nn.initializers.zeros)


def _rms_norm(name: str) -> nn.RMSNorm:
  return nn.RMSNorm(epsilon=1e-6, dtype=jnp.float32, name=name)
