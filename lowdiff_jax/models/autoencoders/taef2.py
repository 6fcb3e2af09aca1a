"""TAEF2, a small autoencoder for CPUs (github.com/madebyollin/taesd).

A deterministic `types.Autoencoder`, which encodes 128x128 images as 16x16x32
latents of about unit scale.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from lowdiff_jax.models import layers, resample
from lowdiff_jax.types import Array

# Indices into the published sequences of layers; all others are blocks.
_HALVE = (2, 6, 10)
_DOUBLE = (6, 11, 16)


class TAEF2(nn.Module):
  """Encoder and decoder of residual blocks.

  Attributes:
    width: number of channels of every layer.
    latent_channels: number of channels of a latent.
    dtype: dtype of convolutions; parameters, normalisation and sums are
      float32.
  """

  width: int = 64
  latent_channels: int = 32
  dtype: Any = jnp.float32

  @property
  def factor(self) -> int:
    """Image pixels per latent pixel, along each side."""
    return 2 ** len(_HALVE)

  def setup(self) -> None:
    self.encoder = Encoder(self.width, self.latent_channels, self.dtype)
    self.decoder = Decoder(self.width, self.dtype)

  def encode(self, image: Array) -> tuple[Array, None]:
    """The latent, without a variance; see `types.Autoencoder`."""
    return self.encoder((image + 1) / 2), None

  def decode(self, latent: Array) -> Array:
    """The image, in [-1, 1]; see `types.Autoencoder`."""
    return 2 * jnp.clip(self.decoder(latent), 0, 1) - 1

  def __call__(self, image: Array) -> Array:
    """The image decoded from its latent."""
    return self.decode(self.encode(image)[0])


class Encoder(nn.Module):
  """Images [B,H,W,3] in [0, 1] -> [B,H/8,W/8,latent_channels] float32."""

  width: int
  latent_channels: int
  dtype: Any

  @nn.compact
  def __call__(self, x: Array) -> Array:
    x = _conv(self.width, "layer_0", self.dtype)(x)
    for i in range(1, 14):
      if i in _HALVE:
        resample = {"strides": 2, "padding": 1, "use_bias": False}
        x = _conv(self.width, f"layer_{i}", self.dtype, **resample)(x)
      else:
        x = Block(i > _HALVE[-1], self.dtype, name=f"layer_{i}")(x)
    x = _conv(self.latent_channels, "layer_14", self.dtype)(x)
    return x.astype(jnp.float32)


class Decoder(nn.Module):
  """Latents [B,H,W,C] -> images [B,8H,8W,3], about [0, 1], float32."""

  width: int
  dtype: Any

  @nn.compact
  def __call__(self, x: Array) -> Array:
    x = 3 * jnp.tanh(x / 3)
    x = jax.nn.relu(_conv(self.width, "layer_1", self.dtype)(x))
    for i in range(3, 19):
      if i in _DOUBLE:
        x = resample.double(x, (1, 1))
      elif i - 1 in _DOUBLE:
        conv = _conv(self.width, f"layer_{i}", self.dtype, use_bias=False)
        x = conv(x)
      else:
        x = Block(i < _DOUBLE[0], self.dtype, name=f"layer_{i}")(x)
    return _conv(3, "layer_19", self.dtype)(x).astype(jnp.float32)


class Block(nn.Module):
  """relu(x + three convolutions of x) in float32.

  Attributes:
    pool: whether a branch with a group norm, whose statistics are of the whole
      image, is added to x first.
    dtype: dtype of the convolutions.
  """

  pool: bool
  dtype: Any

  @nn.compact
  def __call__(self, x: Array) -> Array:
    width = x.shape[-1]
    x = x.astype(jnp.float32)
    if self.pool:
      pointwise = {"kernel": 1, "use_bias": False}
      h = _conv(4 * width, "pool_0", self.dtype, **pointwise)(x)
      h = nn.GroupNorm(4, epsilon=1e-5, dtype=jnp.float32, name="pool_1")(h)
      x = x + _conv(width, "pool_3", self.dtype, **pointwise)(jax.nn.relu(h))
    h = jax.nn.relu(_conv(width, "conv_0", self.dtype)(x))
    h = jax.nn.relu(_conv(width, "conv_2", self.dtype)(h))
    return jax.nn.relu(x + _conv(width, "conv_4", self.dtype)(h))


def _conv(features: int, name: str, dtype: Any, **kwargs: Any) -> nn.Conv:
  return layers.conv(features, dtype=dtype, name=name, **kwargs)
