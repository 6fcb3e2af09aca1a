"""The KL autoencoder of latent diffusion (arXiv 2112.10752), VA-VAE's variant.

A `types.Autoencoder`; `KLAutoencoder()` is VA-VAE f16d32 (arXiv 2501.01423),
which encodes 256x256 images as 16x16x32 latents.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from lowdiff_jax.models import layers, resample
from lowdiff_jax.models.attention import attention
from lowdiff_jax.types import Array

_LOGVAR_RANGE = (-30.0, 20.0)


class KLAutoencoder(nn.Module):
  """Encoder to a diagonal Gaussian, and decoder.

  Modules have the published names. Images may have any sides that are multiples
  of `factor`; the levels with attention depend on `resolution` alone.

  Attributes:
    resolution: side of the images of training.
    channels: base width.
    channel_mult: width of each level, in base widths.
    num_blocks: blocks per level in the encoder; the decoder has one more.
    attn_resolutions: resolutions of the levels with self-attention.
    latent_channels: number of channels of a latent.
    dtype: dtype of convolutions and attention; parameters, normalisation,
      softmax, skips, sums and the posterior are float32.
  """

  resolution: int = 256
  channels: int = 128
  channel_mult: tuple[int, ...] = (1, 1, 2, 2, 4)
  num_blocks: int = 2
  attn_resolutions: tuple[int, ...] = (16,)
  latent_channels: int = 32
  dtype: Any = jnp.float32

  @property
  def factor(self) -> int:
    """Image pixels per latent pixel, along each side."""
    return 2 ** (len(self.channel_mult) - 1)

  def setup(self) -> None:
    levels = tuple(
      (self.channels * mult, self.resolution >> i in self.attn_resolutions)
      for i, mult in enumerate(self.channel_mult)
    )
    common = {"levels": levels, "dtype": self.dtype}
    moments = 2 * self.latent_channels
    self.encoder = Encoder(moments, self.channels, self.num_blocks, **common)
    self.decoder = Decoder(3, self.num_blocks + 1, **common)
    self.quant_conv = layers.conv(moments, 1)
    self.post_quant_conv = layers.conv(self.latent_channels, 1)

  def encode(self, image: Array) -> tuple[Array, Array]:
    """Mean and log variance of the posterior; see `types.Autoencoder`."""
    mean, logvar = jnp.split(self.quant_conv(self.encoder(image)), 2, axis=-1)
    return mean, jnp.clip(logvar, *_LOGVAR_RANGE)

  def decode(self, latent: Array) -> Array:
    """The image, in [-1, 1] up to overshoot; see `types.Autoencoder`."""
    return self.decoder(self.post_quant_conv(latent))

  def __call__(self, image: Array) -> Array:
    """The image decoded from its mean latent."""
    return self.decode(self.encode(image)[0])


class Encoder(nn.Module):
  """[B,H,W,C] -> [B,H/factor,W/factor,features] float32.

  Attributes:
    features: number of output channels.
    channels: width of the first convolution.
    num_blocks: blocks per level.
    levels: (width, with attention) of each level, from the highest resolution.
    dtype: dtype of convolutions and attention.
  """

  features: int
  channels: int
  num_blocks: int
  levels: tuple[tuple[int, bool], ...]
  dtype: Any

  @nn.compact
  def __call__(self, x: Array) -> Array:
    conv = layers.conv(self.channels, dtype=self.dtype, name="conv_in")
    x = conv(x).astype(jnp.float32)
    for level, (width, attends) in enumerate(self.levels):
      if level:
        x = Downsample(self.dtype, name=f"down_{level - 1}_downsample")(x)
      for i in range(self.num_blocks):
        block = ResBlock(width, self.dtype, name=f"down_{level}_block_{i}")
        x = block(x)
        if attends:
          x = Attention(self.dtype, name=f"down_{level}_attn_{i}")(x)
    return _head(_middle(x, self.dtype), self.features, self.dtype)


class Decoder(nn.Module):
  """[B,H,W,C] -> [B,factor H,factor W,features] float32.

  Attributes:
    features: number of output channels.
    num_blocks: blocks per level.
    levels: (width, with attention) of each level, from the highest resolution.
    dtype: dtype of convolutions and attention.
  """

  features: int
  num_blocks: int
  levels: tuple[tuple[int, bool], ...]
  dtype: Any

  @nn.compact
  def __call__(self, x: Array) -> Array:
    width = self.levels[-1][0]
    conv = layers.conv(width, dtype=self.dtype, name="conv_in")
    x = _middle(conv(x).astype(jnp.float32), self.dtype)
    for level, (width, attends) in reversed(list(enumerate(self.levels))):
      for i in range(self.num_blocks):
        x = ResBlock(width, self.dtype, name=f"up_{level}_block_{i}")(x)
        if attends:
          x = Attention(self.dtype, name=f"up_{level}_attn_{i}")(x)
      if level:
        x = Upsample(self.dtype, name=f"up_{level}_upsample")(x)
    return _head(x, self.features, self.dtype)


class ResBlock(nn.Module):
  """x + conv(silu(norm(conv(silu(norm(x)))))) in float32."""

  features: int
  dtype: Any

  @nn.compact
  def __call__(self, x: Array) -> Array:
    h = x
    for i in (1, 2):
      conv = layers.conv(self.features, dtype=self.dtype, name=f"conv{i}")
      h = conv(jax.nn.silu(_norm(f"norm{i}")(h)))
    if x.shape[-1] != self.features:
      shortcut = layers.conv(
        self.features, 1, dtype=self.dtype, name="nin_shortcut"
      )
      x = shortcut(x).astype(jnp.float32)
    return x + h


class Attention(nn.Module):
  """x + attention over the pixels, with one head, in float32."""

  dtype: Any

  @nn.compact
  def __call__(self, x: Array) -> Array:
    b, h, w, c = x.shape
    normed = _norm("norm")(x)
    q, k, v = (
      layers.conv(c, 1, dtype=self.dtype, name=name)(normed).reshape(
        b, h * w, 1, c
      )
      for name in ("q", "k", "v")
    )
    out = attention(q, k, v).reshape(b, h, w, c)
    return x + layers.conv(c, 1, dtype=self.dtype, name="proj_out")(out)


class Downsample(nn.Module):
  """Halves the resolution by a convolution of stride 2; float32.

  Zero padding is at the right and the bottom only, as published.
  """

  dtype: Any

  @nn.compact
  def __call__(self, x: Array) -> Array:
    padding = [(0, 1), (0, 1)]
    conv = layers.conv(
      x.shape[-1], strides=2, padding=padding, dtype=self.dtype, name="conv"
    )
    return conv(x).astype(jnp.float32)


class Upsample(nn.Module):
  """Doubles the resolution by repeating pixels, then convolves; float32."""

  dtype: Any

  @nn.compact
  def __call__(self, x: Array) -> Array:
    conv = layers.conv(x.shape[-1], dtype=self.dtype, name="conv")
    return conv(resample.double(x, (1, 1))).astype(jnp.float32)


def _norm(name: str) -> nn.GroupNorm:
  return nn.GroupNorm(32, epsilon=1e-6, dtype=jnp.float32, name=name)


def _middle(x: Array, dtype: Any) -> Array:
  """The middle of encoder and decoder: block, attention, block."""
  width = x.shape[-1]
  x = ResBlock(width, dtype, name="mid_block_1")(x)
  x = Attention(dtype, name="mid_attn_1")(x)
  return ResBlock(width, dtype, name="mid_block_2")(x)


def _head(x: Array, features: int, dtype: Any) -> Array:
  """The output convolution, float32."""
  conv = layers.conv(features, dtype=dtype, name="conv_out")
  return conv(jax.nn.silu(_norm("norm_out")(x))).astype(jnp.float32)
