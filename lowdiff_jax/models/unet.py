"""The U-Nets of EDM: DDPM++ and NCSN++ (arXiv 2206.00364, appendix C, F.2)."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from lowdiff_jax.models import blocks, layers, resample
from lowdiff_jax.models.attention import attention
from lowdiff_jax.types import Array

ENTRIES = ("matching_level", "top_level")


class UNet(nn.Module):
  """DDPM++ or NCSN++, for images of several resolutions.

  Modules have the published names, which name a level by its resolution for
  images of full resolution.

  Attributes:
    resolution: side of the largest image.
    out_channels: number of output channels.
    model_channels: base width.
    channel_mult: width of each level, in base widths.
    num_blocks: blocks per level in the encoder; the decoder has one more.
    attn_resolutions: resolutions of the levels with self-attention.
    dropout: probability, below 1.
    num_classes: 0 without labels.
    augment_dim: size of the augmentation labels, 0 without.
    embedding: noise embedding: "positional", or "fourier" (NCSN++).
    noise_mult: size of the noise embedding, in base widths; NCSN++: 2.
    encoder: "standard", or "residual": the filtered input is added to each
      level (NCSN++).
    taps: resampling filter; NCSN++: (1, 3, 3, 1).
    entry: "matching_level": an image of resolution/2^l enters and leaves at
      level l through convolutions of that level; "top_level": every image
      enters at level 0 and passes through all levels.
    condition_channels: trailing input channels whose weights start at zero.
    dtype: dtype of features, convolutions and attention; parameters,
      normalisation, softmax and sums are float32.
    attention: (query, key, value) -> values; see `attention.attention`.
  """

  resolution: int
  out_channels: int
  model_channels: int = 128
  channel_mult: tuple[int, ...] = (2, 2, 2)
  num_blocks: int = 4
  attn_resolutions: tuple[int, ...] = (16,)
  dropout: float = 0.13
  num_classes: int = 0
  augment_dim: int = 0
  embedding: str = "positional"
  noise_mult: int = 1
  encoder: str = "standard"
  taps: tuple[int, ...] = (1, 1)
  entry: str = "matching_level"
  condition_channels: int = 0
  dtype: Any = jnp.float32
  attention: Callable[..., Array] = attention

  @property
  def embedding_dim(self) -> int:
    """Size of the noise embedding, to which a stage embedding is added."""
    return self.model_channels * self.noise_mult

  @nn.compact
  def __call__(
    self,
    x: Array,
    c_noise: Array,
    label: Array | None = None,
    stage: Array | None = None,
    *,
    augment: Array | None = None,
    position: Array | None = None,
  ) -> Array:
    """F(x; c_noise).

    Args:
      x: [B,H,W,C + condition_channels] scaled noisy image, condition last.
      c_noise: [B].
      label: [B] classes or `NO_LABEL`; needed if the network has classes.
      stage: [B, embedding_dim] added to the noise embedding.
      augment: [B, augment_dim] augmentation labels; None for zeros.
      position: [B] of each image in its batch, by which dropout is drawn; None
        for no dropout.

    Returns:
      [B,H,W,out_channels] float32.
    """
    first = self._entry_level(x.shape[1])
    emb = blocks.NoiseMapping(
      4 * self.model_channels,
      self.embedding_dim,
      self.embedding,
      self.num_classes,
      self.augment_dim,
      name="mapping",
    )(c_noise, label, augment, stage)
    x, skips = self._encode(x, emb, first, position)
    x = self._decode(x, skips, emb, first, position)
    side = self._side(first)
    x = layers.group_norm(x.shape[-1], f"dec_{side}_aux_norm")(x)
    name = f"dec_{side}_aux_conv"
    head = layers.conv(
      self.out_channels, gain=1e-5, dtype=self.dtype, name=name
    )
    return head(layers.silu(x)).astype(jnp.float32)

  def _entry_level(self, side: int) -> int:
    """The level at which an image of this side enters."""
    if self.entry == "top_level":
      return 0
    return (self.resolution // side).bit_length() - 1

  def _side(self, level: int) -> str:
    """A level's part of the published names, such as "32x32"."""
    return f"{self.resolution >> level}x{self.resolution >> level}"

  def _encode(
    self, x: Array, emb: Array, first: int, position: Array | None
  ) -> tuple[Array, list[Array]]:
    """Returns the innermost features and the skips, from the outermost in."""
    skips, aux = [], x
    for level in range(first, len(self.channel_mult)):
      side = self._side(level)
      if level == first:
        width = self.channel_mult[level - 1] if level else 1
        conv = self._input_conv(self.model_channels * width, f"enc_{side}_conv")
        x = conv(x)
        # At an inner level the residual starts from its own convolution.
        aux = x if level else aux
      else:
        down = self._block(f"enc_{side}_down", x.shape[-1], resample="down")
        x = down(x, emb, position)
        if self.encoder == "residual":
          aux = self._residual(aux, level, x.shape[-1]).astype(jnp.float32)
          x = aux = ((x + aux) * 0.5**0.5).astype(self.dtype)
      skips.append(x)
      width = self.model_channels * self.channel_mult[level]
      attention = self.resolution >> level in self.attn_resolutions
      for i in range(self.num_blocks):
        block = self._block(f"enc_{side}_block{i}", width, attention=attention)
        x = block(x, emb, position)
        skips.append(x)
    return x, skips

  def _input_conv(self, features: int, name: str, **kwargs: Any) -> nn.Conv:
    """A convolution of the input; weights on the condition start at zero."""
    init = layers.zero_tail(layers.xavier_uniform(), self.condition_channels)
    return layers.conv(
      features, kernel_init=init, dtype=self.dtype, name=name, **kwargs
    )

  def _residual(self, aux: Array, level: int, features: int) -> Array:
    """NCSN++'s residual of the input: convolved, then filtered and halved."""
    margin = 1 + (len(self.taps) - 1) // 2
    padding = [(margin, margin)] * 2
    name = f"enc_{self._side(level)}_aux_residual"
    if level == 1:
      conv = self._input_conv(features, name, padding=padding)
    else:
      conv = layers.conv(features, dtype=self.dtype, name=name, padding=padding)
    return resample.halve(conv(aux), self.taps, padded=False)

  def _decode(
    self,
    x: Array,
    skips: list[Array],
    emb: Array,
    first: int,
    position: Array | None,
  ) -> Array:
    """Returns the features at the entry level's resolution."""
    last = len(self.channel_mult) - 1
    for level in range(last, first - 1, -1):
      side = self._side(level)
      if level == last:
        block = self._block(f"dec_{side}_in0", x.shape[-1], attention=True)
        x = block(x, emb, position)
        x = self._block(f"dec_{side}_in1", x.shape[-1])(x, emb, position)
      else:
        up = self._block(f"dec_{side}_up", x.shape[-1], resample="up")
        x = up(x, emb, position)
      width = self.model_channels * self.channel_mult[level]
      attends = self.resolution >> level in self.attn_resolutions
      for i in range(self.num_blocks + 1):
        attention = attends and i == self.num_blocks
        block = self._block(f"dec_{side}_block{i}", width, attention=attention)
        x = jnp.concatenate([x, skips.pop()], axis=-1)
        x = block(x, emb, position)
    return x

  def _block(
    self,
    name: str,
    features: int,
    *,
    attention: bool = False,
    resample: str = "",
  ) -> blocks.UNetBlock:
    return blocks.UNetBlock(
      features,
      resample=resample,
      taps=self.taps,
      attention=self.attention if attention else None,
      dropout=self.dropout,
      dtype=self.dtype,
      name=name,
    )
