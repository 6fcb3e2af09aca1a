"""The unified denoiser: one network for every resolution of the cascade."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from lowdiff_jax.diffusion import pyramid
from lowdiff_jax.models import layers
from lowdiff_jax.types import Array, Condition, Denoiser, Preconditioning

# What a stage with a condition denoises.
TARGETS = ("image", "residual")


class UnifiedDenoiser(nn.Module):
  """D(x; sigma, k, c, s, y) = c_skip x + c_out F(c_in x, c; c_noise, k, s, y).

  k is the stage, known from the resolution of x; c = upsample(low_res) the
  condition with noise of std s; y the label. Everything that this adds to the
  backbone F (the weights on c, the embeddings of k and s) starts at zero, so at
  the top resolution a pretrained backbone is the pretrained denoiser. With one
  resolution nothing is added: that is the baseline, which takes images of other
  resolutions as its backbone does.

  A stage may denoise the residual x - c instead, which is small, of mean zero,
  and all that is unknown:
    D = c + c_skip (x - c) + c_out F(c_in (x - c), c; c_noise, k, s, y).

  Attributes:
    backbone: F, a `types.Backbone` module; one of several resolutions takes the
      condition as `condition_channels` trailing input channels.
    resolutions: of the stages, the lowest first.
    precondition: (sigma, resolution) -> Preconditioning.
    residual: resolutions that denoise x - c instead of x.
    shared: False gives each resolution a backbone of its own (Cascaded
      Diffusion, arXiv 2106.15282).
  """

  backbone: nn.Module
  resolutions: tuple[int, ...]
  precondition: Callable[[Array, int], Preconditioning]
  residual: tuple[int, ...] = ()
  shared: bool = True

  @nn.compact
  def __call__(
    self,
    noisy: Array,
    sigma: Array,
    cond: Condition,
    *,
    train: bool = False,
  ) -> Array:
    """Estimates the clean image; see `types.Denoiser`."""
    resolution = noisy.shape[1]
    pre = self.precondition(sigma, resolution)
    pre = jax.tree.map(lambda c: c[:, None, None, None], pre)._replace(
      c_noise=pre.c_noise
    )
    origin: Array = jnp.zeros(())
    if resolution in self.residual and cond.low_res is not None:
      origin = pyramid.upsample(cond.low_res)
    noisy = noisy - origin
    inputs, embedding = pre.c_in * noisy, None
    if len(self.resolutions) > 1:
      self._check_condition_channels(noisy.shape[-1])
      low_res, embedding = self._condition(cond, resolution, noisy)
      inputs = jnp.concatenate([inputs, low_res], axis=-1)
    backbone = self.backbone
    if not self.shared:
      name = self._name("backbone", resolution)
      backbone = backbone.clone(parent=self, name=name)
    output = backbone(
      inputs,
      pre.c_noise,
      cond.label,
      embedding,
      augment=cond.augment,
      train=train,
    )
    return origin + pre.c_skip * noisy + pre.c_out * output

  def _check_condition_channels(self, channels: int) -> None:
    if self.backbone.condition_channels != channels:
      raise ValueError(
        "the backbone has condition_channels="
        f"{self.backbone.condition_channels}, and the condition of this image "
        f"has {channels} channels"
      )

  def _condition(
    self, cond: Condition, resolution: int, noisy: Array
  ) -> tuple[Array, Array]:
    """The condition at the resolution of `noisy`, and the stage embedding."""
    features = self.backbone.embedding_dim
    zeros = nn.initializers.zeros
    table = self.param(
      "resolution_embedding", zeros, (len(self.resolutions), features)
    )
    embedding = table[self.resolutions.index(resolution)]
    if cond.low_res is None:
      shape = (noisy.shape[0], features)
      return jnp.zeros_like(noisy), jnp.broadcast_to(embedding, shape)
    if cond.low_res_sigma is None:
      raise ValueError("a condition needs its noise level, low_res_sigma")
    # The logarithm needs a floor, below any noise that one would add.
    level = jnp.maximum(cond.low_res_sigma, 1e-3)
    pre = self.precondition(level, resolution // 2)
    level = layers.positional_embedding(pre.c_noise, features)
    name = self._name("low_res_sigma", resolution)
    embed_level = nn.Dense(features, kernel_init=zeros, name=name)
    low_res = pyramid.upsample(pre.c_in[:, None, None, None] * cond.low_res)
    return low_res, embedding + embed_level(level)

  def _name(self, part: str, resolution: int) -> str:
    if len(self.resolutions) == 1:
      (resolution,) = self.resolutions
    return part if self.shared else f"{part}_{resolution}x{resolution}"


def init_params(
  denoiser: UnifiedDenoiser, key: Array, channels: int
) -> dict[str, Any]:
  """The parameters of all stages, in one tree.

  Args:
    denoiser: the denoiser.
    key: a key.
    channels: of the image.

  Returns:
    The "params" collection.
  """

  def every_stage(module: UnifiedDenoiser) -> None:
    for k, side in enumerate(module.resolutions):
      low_res = jnp.zeros((1, side // 2, side // 2, channels)) if k else None
      cond = Condition(
        label=jnp.zeros(1, jnp.int32),
        low_res=low_res,
        low_res_sigma=jnp.ones(1) if k else None,
      )
      module(jnp.zeros((1, side, side, channels)), jnp.ones(1), cond)

  return nn.init(every_stage, denoiser)(key)["params"]


def bind(
  denoiser: UnifiedDenoiser,
  params: dict[str, Any],
  dropout_key: Array | None = None,
) -> Denoiser:
  """The denoiser as a plain function; with `dropout_key` in training mode."""

  def denoise(noisy: Array, sigma: Array, cond: Condition) -> Any:
    if dropout_key is None:
      return denoiser.apply({"params": params}, noisy, sigma, cond)
    # Stages differ in resolution; so do their masks.
    key = jax.random.fold_in(dropout_key, noisy.shape[1])
    return denoiser.apply(
      {"params": params},
      noisy,
      sigma,
      cond,
      train=True,
      rngs={"dropout": key},
    )

  return denoise
