"""From a config to what is trained, and how."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from lowdiff_jax.data.augment import NUM_LABELS
from lowdiff_jax.diffusion import loss, precondition
from lowdiff_jax.experiment.schema import (
  resolutions,
  stage_names,
  stage_sections,
)
from lowdiff_jax.models import dit, unet, unified
from lowdiff_jax.models.attention import fused_attention
from lowdiff_jax.train import optimizer
from lowdiff_jax.train.objective import Objective
from lowdiff_jax.types import (
  Array,
  Backbone,
  ImageSpec,
  Preconditioning,
  UserError,
)


def make_denoiser(
  config: ConfigDict, spec: ImageSpec, device: jax.Device
) -> unified.UnifiedDenoiser:
  """The unified denoiser; or the baseline's, of the last resolution alone.

  Args:
    config: the config.
    spec: of the images.
    device: one of those that run it; decides on the kernel of attention.

  Returns:
    The module.
  """
  sides = resolutions(config)
  make = {"unet": _make_unet, "dit": _make_dit}[config.model.backbone]
  backbone: Any = make(
    config,
    out_channels=spec.channels,
    num_classes=spec.num_classes,
    condition_channels=spec.channels if config.cascade else 0,
    dtype=jnp.dtype(config.model.dtype),
    attention=fused_attention(device),
  )
  return unified.UnifiedDenoiser(
    backbone,
    sides if config.cascade else sides[-1:],
    _make_precondition(config),
    residual=tuple(
      side
      for side, stage in zip(sides, stage_sections(config), strict=True)
      # The baseline denoises images, whatever is handed to it.
      if config.cascade and stage.target == "residual"
    ),
    shared=config.model.shared,
  )


def _make_unet(config: ConfigDict, **common: Any) -> Backbone:
  model = config.model
  return unet.UNet(
    resolution=resolutions(config)[-1],
    model_channels=model.channels,
    channel_mult=model.channel_mult,
    num_blocks=model.num_blocks,
    attn_resolutions=model.attn_resolutions,
    dropout=model.dropout,
    augment_dim=NUM_LABELS if config.data.augment > 0 else 0,
    # The baseline has the outer convolutions alone, and no other way in.
    entry=model.entry if config.cascade else "top_level",
    **common,
  )


def _make_dit(config: ConfigDict, **common: Any) -> Backbone:
  model = config.model
  return dit.LightningDiT(
    input_size=resolutions(config)[-1],
    hidden_size=model.hidden_size,
    depth=model.depth,
    num_heads=model.num_heads,
    qk_norm=model.qk_norm,
    positions=model.positions,
    remat=model.remat,
    **common,
  )


def _make_precondition(
  config: ConfigDict,
) -> Callable[[Array, int], Preconditioning]:
  """(sigma, resolution) -> Preconditioning."""
  if config.model.precondition == "flow":
    return lambda sigma, side: precondition.flow(sigma)
  scale = {
    side: stage.sigma_data
    for side, stage in zip(
      resolutions(config), stage_sections(config), strict=True
    )
  }
  return lambda sigma, side: precondition.edm(sigma, sigma_data=scale[side])


def loss_stages(config: ConfigDict) -> list[loss.StageLoss]:
  """How each stage is trained."""
  sections, flow = stage_sections(config), config.model.precondition == "flow"
  stages = [
    loss.StageLoss(
      resolution=resolution,
      images=section.batch_size,
      p_mean=section.p_mean,
      p_std=section.p_std,
      weight=(
        loss.flow_weight
        if flow
        else functools.partial(loss.edm_weight, sigma_data=section.sigma_data)
      ),
      scale=section.loss_scale,
      low_res_sigma=(section.min_low_res_sigma, section.max_low_res_sigma),
      cosine_weight=section.cosine_weight if flow else 0.0,
    )
    for resolution, section in zip(resolutions(config), sections, strict=True)
  ]
  return stages if config.cascade else stages[-1:]


def make_objective(
  config: ConfigDict,
  denoiser: unified.UnifiedDenoiser,
  normalise: Callable[[Any], Any],
) -> Objective:
  """The training objective of all stages; `normalise` is the codec's."""
  return Objective(
    denoiser,
    normalise,
    loss_stages(config),
    config.model.label_dropout,
    config.data.augment,
  )


def batch_size(config: ConfigDict) -> int:
  """Images in a training batch: those of its largest stage."""
  return max(stage.batch_size for stage in stage_sections(config))


def check_batches(config: ConfigDict, mesh: Mesh) -> None:
  """Raises UserError if a stage's batch does not divide to be trained on."""
  parts = config.train.microbatches
  for name in stage_names(config):
    size = config.stages[name].batch_size
    if size % (parts * mesh.size):
      among = f"{mesh.size} devices"
      if parts > 1:
        among = f"config.train.microbatches = {parts} x {among}"
      raise UserError(
        f"config.stages.{name}.batch_size = {size} does not divide over {among}"
      )


def make_optimizer(
  config: ConfigDict, batch_size: int
) -> optax.GradientTransformation:
  """Adam, its warm-up counted in images."""
  section = config.optimizer
  return optimizer.adam(
    section.learning_rate,
    warmup_steps=math.ceil(section.warmup_images / batch_size),
    betas=section.betas,
    eps=section.eps,
    clip_norm=section.clip_norm,
  )
