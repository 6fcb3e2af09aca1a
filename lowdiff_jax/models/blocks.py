"""Building blocks of EDM's U-Nets (arXiv 2206.00364)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from lowdiff_jax.models import layers, resample
from lowdiff_jax.models.attention import attention
from lowdiff_jax.types import Array


class SelfAttention(nn.Module):
  """Self-attention over pixels, without the residual connection."""

  num_heads: int = 1
  dtype: Any = jnp.float32
  attention: Callable[..., Array] = attention

  @nn.compact
  def __call__(self, x: Array) -> Array:
    b, h, w, c = x.shape
    normed = layers.group_norm(c, "norm2")(x).reshape(b, h * w, c)
    qkv = QueryKeyValue(self.dtype, name="qkv")(normed)
    heads = (b, h * w, self.num_heads, c // self.num_heads)
    out = self.attention(*(y.reshape(heads) for y in qkv)).reshape(b, h, w, c)
    return layers.conv(c, 1, gain=1e-5, dtype=self.dtype, name="proj")(out)


class QueryKeyValue(nn.Module):
  """Three linear layers, stored as EDM's 1x1 convolution with 3C outputs.

  Output 3i is channel i of the queries, 3i + 1 of the keys and 3i + 2 of the
  values. The columns are sorted here and not when weights are loaded, so that
  checkpoints keep EDM's order: sorting the outputs would be dear on a TPU,
  which pads an axis of 3 to 128.
  """

  dtype: Any

  @nn.compact
  def __call__(self, x: Array) -> list[Array]:
    """[B,T,C] -> queries, keys, values, each [B,T,C]."""
    c = x.shape[-1]
    init = layers.xavier_uniform(0.2**0.5)
    kernel = self.param("kernel", init, (1, 1, c, 3 * c)).astype(self.dtype)
    bias = self.param("bias", nn.initializers.zeros, (3 * c,))
    bias = bias.astype(self.dtype)
    x = x.astype(self.dtype)
    return [x @ kernel[0, 0, :, i::3] + bias[i::3] for i in range(3)]


class NoiseMapping(nn.Module):
  """Embeds noise level, label, augmentation and stage in one vector.

  Attributes:
    features: size of the result.
    embedding_dim: size of the noise embedding, to which the others are added.
    embedding: noise embedding, "positional" or "fourier".
    num_classes: 0 without labels.
    augment_dim: size of the augmentation labels, 0 without.
  """

  features: int
  embedding_dim: int
  embedding: str
  num_classes: int
  augment_dim: int

  @nn.compact
  def __call__(
    self,
    c_noise: Array,
    label: Array | None,
    augment: Array | None,
    stage: Array | None,
  ) -> Array:
    """Returns the embedding [B, features]; arguments as in `types.Backbone`."""
    emb = self._embed(c_noise)
    if self.num_classes:
      # NO_LABEL gives the zero vector.
      onehot = jax.nn.one_hot(label, self.num_classes)
      onehot = onehot * jnp.sqrt(float(self.num_classes))
      emb += self._linear(self.embedding_dim, "map_label")(onehot)
    if self.augment_dim:
      if augment is None:
        augment = jnp.zeros((c_noise.shape[0], self.augment_dim))
      linear = self._linear(self.embedding_dim, "map_augment", use_bias=False)
      emb += linear(augment)
    if stage is not None:
      emb += stage
    emb = layers.silu(self._linear(self.features, "map_layer0")(emb))
    return layers.silu(self._linear(self.features, "map_layer1")(emb))

  def _embed(self, c_noise: Array) -> Array:
    if self.embedding == "positional":
      return layers.positional_embedding(c_noise, self.embedding_dim)
    return layers.FourierEmbedding(self.embedding_dim, name="map_noise")(
      c_noise
    )

  def _linear(self, features: int, name: str, **kwargs: Any) -> nn.Dense:
    init = layers.xavier_uniform()
    return nn.Dense(features, kernel_init=init, name=name, **kwargs)


class UNetBlock(nn.Module):
  """Residual block, twice (norm, silu, conv), then optional self-attention.

  Attributes:
    features: number of output channels.
    resample: "up" or "down" resamples before the first convolution and on the
      skip connection; "" does not.
    taps: resampling filter.
    attention: function used by the self-attention; None omits it.
    dropout: probability, below 1, before the second convolution.
    dtype: dtype of the features and convolutions; norms and sums are float32.
  """

  features: int
  resample: str = ""
  taps: tuple[int, ...] = (1, 1)
  attention: Callable[..., Array] | None = None
  dropout: float = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, x: Array, emb: Array, position: Array | None = None
  ) -> Array:
    """[B,H,W,C] -> [B,H',W',features]; `position` as in `types.Backbone`."""
    channels = x.shape[-1]
    h = layers.silu(layers.group_norm(channels, "norm0")(x))
    h = self._resample(h.astype(self.dtype))
    if channels > self.features:
      # Sums over so many channels inside a convolution compile slowly.
      h = layers.gradient_stored(h)
    h = layers.conv(self.features, dtype=self.dtype, name="conv0")(h)
    init = layers.xavier_uniform()
    shift = nn.Dense(self.features, kernel_init=init, name="affine")(emb)
    h = h + shift[:, None, None, :]
    h = layers.silu(layers.group_norm(self.features, "norm1")(h))
    if position is not None and self.dropout:
      key = self.make_rng("dropout")
      h = layers.dropout(key, position, h, self.dropout)
    last = layers.conv(self.features, gain=1e-5, dtype=self.dtype, name="conv1")
    h = last(h)
    skip = self._resample(x)
    if channels != self.features or self.resample:
      skip = layers.conv(self.features, 1, dtype=self.dtype, name="skip")(skip)
    x = self._mean(skip, h)
    if self.attention is not None:
      attend = SelfAttention(
        dtype=self.dtype, attention=self.attention, name="attention"
      )
      x = self._mean(x, attend(x))
    return x

  def _mean(self, x: Array, y: Array) -> Array:
    """(x + y) / sqrt(2), computed in float32."""
    total = x.astype(jnp.float32) + y.astype(jnp.float32)
    # Sums for the next norm inside this convolution compile slowly.
    return layers.stored_on_tpu((total * 0.5**0.5).astype(self.dtype))

  def _resample(self, x: Array) -> Array:
    if self.resample == "up":
      return resample.double(x, self.taps)
    return resample.halve(x, self.taps) if self.resample == "down" else x
