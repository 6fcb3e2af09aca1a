"""From a config to what is trained, and how."""

import functools
import math
from collections.abc import Callable

import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from lowdiff_jax.data.augment import NUM_LABELS
from lowdiff_jax.diffusion import loss, precondition
from lowdiff_jax.models import dit, unet, unified
from lowdiff_jax.train import optimizer
from lowdiff_jax.types import Array, ImageSpec


def make_denoiser(
  config: ConfigDict, spec: ImageSpec, upsample: Callable[[Array], Array]
) -> unified.UnifiedDenoiser:
  """The unified denoiser; or the baseline's, of the last resolution alone."""
  resolutions = config.stages.resolutions
  make = {"unet": _make_unet, "dit": _make_dit}[config.model.backbone]
  return unified.UnifiedDenoiser(
    make(
      config,
      out_channels=spec.channels,
      num_classes=spec.num_classes,
      condition_channels=spec.channels if config.cascade else 0,
      dtype=jnp.dtype(config.model.dtype),
    ),
    resolutions if config.cascade else resolutions[-1:],
    _make_precondition(config),
    upsample,
    residual=tuple(
      side
      for side, target in zip(resolutions, config.stages.target, strict=True)
      # The baseline denoises images, whatever is handed to it.
      if config.cascade and target == "residual"
    ),
    shared=config.model.shared,
  )


def _make_unet(config, **common):
  model = config.model
  return unet.UNet(
    resolution=config.stages.resolutions[-1],
    model_channels=model.channels,
    channel_mult=model.channel_mult,
    num_blocks=model.num_blocks,
    attn_resolutions=model.attn_resolutions,
    dropout=model.dropout,
    augment_dim=NUM_LABELS if config.data.augment > 0 else 0,
    # The baseline has the outer convolutions alone, and no other way in.
    entry=model.entry if config.cascade else "whole",
    **common,
  )


def _make_dit(config, **common):
  model = config.model
  return dit.LightningDiT(
    input_size=config.stages.resolutions[-1],
    hidden_size=model.hidden_size,
    depth=model.depth,
    num_heads=model.num_heads,
    qk_norm=model.qk_norm,
    positions=model.positions,
    remat=model.remat,
    **common,
  )


def _make_precondition(config):
  """(sigma, resolution) -> Preconditioning."""
  if config.model.precondition == "flow":
    return lambda sigma, side: precondition.flow(sigma)
  section = config.stages
  scale = dict(zip(section.resolutions, section.sigma_data, strict=True))
  return lambda sigma, side: precondition.edm(sigma, sigma_data=scale[side])


def _make_weight(config, stage):
  """sigma -> weight of the squared error: 1/c_out^2."""
  if config.model.precondition == "flow":
    return loss.flow_weight
  sigma_data = config.stages.sigma_data[stage]
  return functools.partial(loss.edm_weight, sigma_data=sigma_data)


def loss_stages(config: ConfigDict) -> list[loss.StageLoss]:
  """How each stage is trained."""
  section, flow = config.stages, config.model.precondition == "flow"
  stages = [
    loss.StageLoss(
      resolution=resolution,
      images=section.images[k],
      p_mean=section.p_mean[k],
      p_std=section.p_std[k],
      weight=_make_weight(config, k),
      scale=section.loss_scale[k],
      low_res_sigma=(
        section.min_low_res_sigma[k],
        section.max_low_res_sigma[k],
      ),
      direction=section.direction[k] if flow else 0.0,
      consistency=section.consistency[k],
    )
    for k, resolution in enumerate(section.resolutions)
  ]
  return stages if config.cascade else stages[-1:]


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
