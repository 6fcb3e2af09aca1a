"""The U-Net of EDM: DDPM++ (arXiv 2206.00364, appendix C and table 1)."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from lowdiff_jax.interfaces import Array
from lowdiff_jax.models import layers

ENTRIES = ("matched", "whole")


class NoiseMapping(nn.Module):
  """Maps the noise level, label and stage embedding to what blocks are told."""

  features: int
  embedding_dim: int
  num_classes: int

  @nn.compact
  def __call__(
    self, c_noise: Array, label: Array | None, embedding: Array | None
  ) -> Array:
    emb = layers.positional_embedding(c_noise, self.embedding_dim)
    if self.num_classes:
      # NO_LABEL is the zero vector.
      onehot = jax.nn.one_hot(label, self.num_classes)
      onehot = onehot * jnp.sqrt(float(self.num_classes))
      emb += self._linear(self.embedding_dim, "map_label")(onehot)
    if embedding is not None:
      emb += embedding
    emb = jax.nn.silu(self._linear(self.features, "map_layer0")(emb))
    return jax.nn.silu(self._linear(self.features, "map_layer1")(emb))

  def _linear(self, features: int, name: str) -> nn.Dense:
    return nn.Dense(features, kernel_init=layers.xavier_uniform(), name=name)


class UNetBlock(nn.Module):
  """Residual block: norm, silu, conv, twice; then attention if asked.

  Attributes:
    features: output channels.
    resample: "up", "down" or "": before the first convolution and on the skip.
    attention: whether self-attention follows.
    dropout: probability, before the second convolution.
    dtype: of the convolutions.
  """

  features: int
  resample: str = ""
  attention: bool = False
  dropout: float = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, emb: Array, *, train: bool) -> Array:
    resample = {"up": layers.double, "down": layers.halve}.get(
      self.resample, lambda x: x
    )
    skip_scale = 0.5**0.5
    channels = x.shape[-1]
    h = jax.nn.silu(layers.group_norm(channels, "norm0")(x))
    h = layers.conv(self.features, dtype=self.dtype, name="conv0")(resample(h))
    shift = nn.Dense(
      self.features, kernel_init=layers.xavier_uniform(), name="affine"
    )(emb)
    h = h + shift[:, None, None, :].astype(h.dtype)
    h = jax.nn.silu(layers.group_norm(self.features, "norm1")(h))
    h = nn.Dropout(self.dropout, deterministic=not train)(h)
    h = layers.conv(self.features, gain=1e-5, dtype=self.dtype, name="conv1")(h)
    skip = resample(x)
    if channels != self.features or self.resample:
      skip = layers.conv(self.features, 1, dtype=self.dtype, name="skip")(skip)
    x = (skip + h) * skip_scale
    if self.attention:
      attend = layers.SelfAttention(dtype=self.dtype, name="attention")
      x = (x + attend(x)) * skip_scale
    return x


class UNet(nn.Module):
  """DDPM++, which images of lower resolution enter on a level of their own.

  Modules carry the published names, in which a level is called after the
  resolution it works at when an image of full resolution enters.

  Attributes:
    resolution: of the largest image.
    out_channels: of the output.
    model_channels: base width.
    channel_mult: width of each level, in base widths.
    num_blocks: blocks per level in the encoder; the decoder has one more.
    attn_resolutions: levels with self-attention.
    dropout: probability.
    num_classes: 0 without labels.
    entry: "matched": an image of resolution/2^l enters and leaves at level l
      through its own convolutions; "whole": it runs through all levels.
    condition_channels: trailing input channels whose weights start at zero.
    dtype: of convolutions and attention; normalisation is float32.
  """

  resolution: int
  out_channels: int
  model_channels: int = 128
  channel_mult: tuple[int, ...] = (2, 2, 2)
  num_blocks: int = 4
  attn_resolutions: tuple[int, ...] = (16,)
  dropout: float = 0.13
  num_classes: int = 0
  entry: str = "matched"
  condition_channels: int = 0
  dtype: Any = jnp.float32

  @property
  def embedding_dim(self) -> int:
    """Size of the noise embedding, to which a stage embedding is added."""
    return self.model_channels

  @nn.compact
  def __call__(
    self,
    x: Array,
    c_noise: Array,
    label: Array | None = None,
    embedding: Array | None = None,
    *,
    train: bool = False,
  ) -> Array:
    """F(x; c_noise).

    Args:
      x: [B,H,W,C + condition_channels] scaled noisy image, condition last.
      c_noise: [B].
      label: [B] classes or `NO_LABEL`; needed if the network has classes.
      embedding: [B, embedding_dim] added to the noise embedding.
      train: whether dropout is on.

    Returns:
      [B,H,W,out_channels] float32.
    """
    first = self._entry_level(x.shape[1])
    emb = NoiseMapping(
      4 * self.model_channels,
      self.embedding_dim,
      self.num_classes,
      name="mapping",
    )(c_noise, label, embedding)
    x, skips = self._encode(x.astype(self.dtype), emb, first, train)
    x = self._decode(x, skips, emb, first, train)
    side = self._side(first)
    x = layers.group_norm(x.shape[-1], f"dec_{side}_aux_norm")(x)
    head = layers.conv(
      self.out_channels,
      gain=1e-5,
      dtype=self.dtype,
      name=f"dec_{side}_aux_conv",
    )
    return head(jax.nn.silu(x)).astype(jnp.float32)

  def _entry_level(self, side: int) -> int:
    if self.entry == "whole":
      return 0
    return (self.resolution // side).bit_length() - 1

  def _side(self, level: int) -> str:
    return f"{self.resolution >> level}x{self.resolution >> level}"

  def _encode(self, x, emb, first, train):
    """Returns the innermost features and the skips, outermost first."""
    skips = []
    for level in range(first, len(self.channel_mult)):
      side = self._side(level)
      if level == first:
        width = self.channel_mult[level - 1] if level else 1
        init = layers.xavier_uniform()
        x = layers.conv(
          self.model_channels * width,
          kernel_init=layers.zero_tail(init, self.condition_channels),
          dtype=self.dtype,
          name=f"enc_{side}_conv",
        )(x)
      else:
        down = self._block(f"enc_{side}_down", x.shape[-1], resample="down")
        x = down(x, emb, train=train)
      skips.append(x)
      width = self.model_channels * self.channel_mult[level]
      attention = self.resolution >> level in self.attn_resolutions
      for i in range(self.num_blocks):
        block = self._block(f"enc_{side}_block{i}", width, attention=attention)
        x = block(x, emb, train=train)
        skips.append(x)
    return x, skips

  def _decode(self, x, skips, emb, first, train):
    """Returns the features at the entry level's resolution."""
    last = len(self.channel_mult) - 1
    for level in range(last, first - 1, -1):
      side = self._side(level)
      if level == last:
        block = self._block(f"dec_{side}_in0", x.shape[-1], attention=True)
        x = block(x, emb, train=train)
        x = self._block(f"dec_{side}_in1", x.shape[-1])(x, emb, train=train)
      else:
        up = self._block(f"dec_{side}_up", x.shape[-1], resample="up")
        x = up(x, emb, train=train)
      width = self.model_channels * self.channel_mult[level]
      attends = self.resolution >> level in self.attn_resolutions
      for i in range(self.num_blocks + 1):
        attention = attends and i == self.num_blocks
        block = self._block(f"dec_{side}_block{i}", width, attention=attention)
        x = jnp.concatenate([x, skips.pop()], axis=-1)
        x = block(x, emb, train=train)
    return x

  def _block(self, name, features, *, attention=False, resample=""):
    return UNetBlock(
      features,
      resample=resample,
      attention=attention,
      dropout=self.dropout,
      dtype=self.dtype,
      name=name,
    )
