"""The unified denoiser: one network for every resolution of the cascade."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from lowdiff_jax.diffusion import pyramid
from lowdiff_jax.models import layers
from lowdiff_jax.types import Array, Condition, Denoiser, Preconditioning

# What a conditioned stage denoises: x, or x - upsample(low_res).
TARGETS = ("image", "residual")


class UnifiedDenoiser(nn.Module):
  """D(x; sigma, k, c, s, y) = c_skip x + c_out F(c_in x, c; c_noise, k, s, y).

  k is the stage, which follows from the resolution of x; c = upsample(low_res)
  is the condition, with noise of std s; y is the label. All that is added to
  the backbone F (the weights on c, the embeddings of k and s) starts at zero,
  so that a pretrained F gives the pretrained denoiser at the top resolution.
  With one resolution nothing is added: this is the baseline, which denoises
  images of any resolution that F accepts.

  A stage may denoise the residual x - c instead:
    D = c + c_skip (x - c) + c_out F(c_in (x - c), c; c_noise, k, s, y).

  Attributes:
    backbone: F, a `types.Backbone` module; with several resolutions, its
      `condition_channels` trailing input channels hold the condition.
    resolutions: resolutions of the stages, the lowest first.
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
  ) -> Array:
    """Estimates the clean image; see `types.Denoiser`."""
    resolution = noisy.shape[1]
    pre = self.precondition(sigma, resolution)
    pre = jax.tree.map(lambda c: c[:, None, None, None], pre)._replace(
      c_noise=pre.c_noise
    )
    origin: Array | float = 0.0
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
      position=cond.position,
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
    """The scaled condition [B,H,W,C] and the stage embedding [B,D]."""
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
    # log(0) is infinite; the floor is below any level in use.
    level = jnp.maximum(cond.low_res_sigma, 1e-3)
    pre = self.precondition(level, resolution // 2)
    level = layers.positional_embedding(pre.c_noise, features)
    name = self._name("low_res_sigma", resolution)
    embed_level = nn.Dense(features, kernel_init=zeros, name=name)
    low_res = pyramid.upsample(pre.c_in[:, None, None, None] * cond.low_res)
    return low_res, embedding + embed_level(level)

  def _name(self, part: str, resolution: int) -> str:
    """A module's name; separate networks have the resolution in theirs."""
    if len(self.resolutions) == 1:
      (resolution,) = self.resolutions
    return part if self.shared else f"{part}_{resolution}x{resolution}"


def init_params(
  denoiser: UnifiedDenoiser, key: Array, channels: int
) -> dict[str, Any]:
  """Initialises the parameters of all stages.

  Args:
    denoiser: the denoiser.
    key: random key.
    channels: number of channels of an image.

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
  """The denoiser as a function of its inputs alone.

  Args:
    denoiser: the denoiser.
    params: its parameters.
    dropout_key: for dropout, which is on where a condition has positions.

  Returns:
    The function.
  """
  # Flax declares that `apply` may also return the mutated variables.
  apply: Callable[..., Any] = denoiser.apply

  def denoise(noisy: Array, sigma: Array, cond: Condition) -> Any:
    if dropout_key is None:
      return apply({"params": params}, noisy, sigma, cond)
    # Stages must not share dropout masks.
    key = jax.random.fold_in(dropout_key, noisy.shape[1])
    rngs = {"dropout": key}
    return apply({"params": params}, noisy, sigma, cond, rngs=rngs)

  return denoise
