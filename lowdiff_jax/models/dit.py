"""LightningDiT (arXiv 2501.01423): a diffusion transformer for latents.

A DiT with adaLN-Zero (arXiv 2212.09748), RMSNorm (arXiv 1910.07467), SwiGLU
(arXiv 2002.05202) and rotary position embeddings (arXiv 2104.09864). Modules
have the published names; the parameters of the blocks are stacked along a
leading axis.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from lowdiff_jax.models import dit_blocks, layers
from lowdiff_jax.models.attention import KEPT, attention
from lowdiff_jax.models.position import rotary_table, sincos_table
from lowdiff_jax.types import NO_LABEL, Array, UserError

# (depth, hidden size, heads)
SIZES = {"B": (12, 768, 12), "L": (24, 1024, 16), "XL": (28, 1152, 16)}
POSITIONS = ("integer", "stretched")
# What the forward pass of a block keeps; the backward pass computes the rest
# again.
REMAT = {
  "none": jax.checkpoint_policies.everything_saveable,
  "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
  "attention": jax.checkpoint_policies.save_only_these_names(KEPT),
  "full": jax.checkpoint_policies.nothing_saveable,
}


class LightningDiT(nn.Module):
  """A transformer over patches, for square grids up to `input_size`.

  Attributes:
    out_channels: number of output channels.
    hidden_size: width of a token, a multiple of 4 num_heads.
    depth: number of blocks.
    num_heads: number of attention heads.
    input_size: side of the largest grid, in tokens.
    patch_size: side of a patch, in pixels.
    mlp_ratio: the SwiGLU has 2/3 mlp_ratio hidden_size features.
    num_classes: 0 without labels.
    qk_norm: whether queries and keys are normalised.
    positions: position of token i in a grid of `side` tokens: "integer": i;
      "stretched": i input_size / side, so that all grids cover the same extent.
    position_table: (positions [side], hidden_size) -> the position embedding
      [side^2, hidden_size] that is added to the tokens.
    condition_channels: trailing input channels whose weights start at zero.
    remat: what the backward pass recomputes: "none": nothing; "dots": all but
      the products with weights; "attention": all but the attended values;
      "full": the whole block.
    dtype: dtype of the residual stream, of the tokens' matrix products and of
      attention. Parameters, norms, sums, softmax and all that is computed once
      per image (time, class, modulation) are float32.
    attention: (query, key, value) -> values; see `attention.attention`.
  """

  out_channels: int
  hidden_size: int
  depth: int
  num_heads: int
  input_size: int
  patch_size: int = 1
  mlp_ratio: float = 4.0
  num_classes: int = 0
  qk_norm: bool = False
  positions: str = "integer"
  position_table: Callable[[np.ndarray, int], np.ndarray] = sincos_table
  condition_channels: int = 0
  remat: str = "none"
  dtype: Any = jnp.float32
  attention: Callable[..., Array] = attention

  @property
  def embedding_dim(self) -> int:
    """Size of the time embedding, to which a stage embedding is added."""
    return self.hidden_size

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
    """Predicts the velocity F(x; c_noise), which points from noise to data.

    Args:
      x: [B,H,H,C + condition_channels] scaled noisy image, condition last.
      c_noise: [B] time, 0 for noise and 1 for data; see `precondition.flow`.
      label: [B] classes or `NO_LABEL`; needed if the network has classes.
      stage: [B, embedding_dim] added to the time embedding.
      augment: must be None; this network takes no augmentation labels.
      position: ignored: there is no dropout.

    Returns:
      [B,H,H,out_channels] float32.

    Raises:
      UserError: `augment` is not None.
    """
    del position
    if augment is not None:
      raise UserError("a DiT takes no augmentation labels; set augment to 0")
    batch, side = x.shape[0], x.shape[1] // self.patch_size
    positions = self._positions(side)
    x = self._embed_patches(x).reshape(batch, side**2, self.hidden_size)
    x = x + self.position_table(positions, self.hidden_size)
    x = x.astype(self.dtype)
    emb = self._embed_image(c_noise, label, stage)
    head_dim = self.hidden_size // self.num_heads
    rotation = rotary_table(positions, head_dim)
    carry = (x, dit_blocks.mean_square(x))
    (x, _), _ = self._blocks()(carry, emb, rotation)
    p, c = self.patch_size, self.out_channels
    head = dit_blocks.FinalLayer(
      p * p * c, dtype=self.dtype, name="final_layer"
    )
    x = head(x, emb).reshape(batch, side, side, p, p, c)
    return x.swapaxes(2, 3).reshape(batch, side * p, side * p, c)

  def _positions(self, side: int) -> np.ndarray:
    stretch = self.input_size / side if self.positions == "stretched" else 1
    return np.arange(side) * stretch

  def _embed_patches(self, x: Array) -> Array:
    patch = (self.patch_size, self.patch_size)
    # Initialised as a linear layer on flattened patches.
    init = nn.initializers.variance_scaling(
      1.0, "fan_avg", "uniform", in_axis=(0, 1, 2)
    )
    init = layers.zero_tail(init, self.condition_channels)
    conv = nn.Conv(
      self.hidden_size,
      patch,
      patch,
      kernel_init=init,
      dtype=self.dtype,
      name="x_embedder",
    )
    return conv(x).astype(jnp.float32)

  def _embed_image(
    self, c_noise: Array, label: Array | None, stage: Array | None
  ) -> Array:
    """silu(time + class + stage) [B,1,hidden_size], an input of all blocks."""
    emb = dit_blocks.TimeEmbedding(self.hidden_size, name="t_embedder")(c_noise)
    if self.num_classes:
      if label is None:
        raise ValueError("a network with classes needs labels")
      row = jnp.where(label == NO_LABEL, self.num_classes, label)
      table = nn.Embed(
        self.num_classes + 1,
        self.hidden_size,
        embedding_init=nn.initializers.normal(0.02),
        name="y_embedder",
      )
      emb += table(row)
    if stage is not None:
      emb += stage
    return jax.nn.silu(emb)[:, None]

  def _blocks(self) -> nn.Module:
    """The blocks as a scan over stacked parameters, which compiles one block.

    The result maps (carry, emb, rotation) to (carry, None).
    """
    block = nn.remat(
      dit_blocks.Block, policy=REMAT[self.remat], prevent_cse=False
    )
    stack = nn.scan(
      block,
      variable_axes={"params": 0},
      split_rngs={"params": True},
      in_axes=nn.broadcast,
      length=self.depth,
    )
    return stack(
      self.num_heads,
      int(2 / 3 * int(self.mlp_ratio * self.hidden_size)),
      self.qk_norm,
      self.dtype,
      self.attention,
      name="blocks",
    )
