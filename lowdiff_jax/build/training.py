"""From a config to what is trained, and how."""

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from lowdiff_jax.data.augment import NUM_LABELS
from lowdiff_jax.diffusion import loss, precondition
from lowdiff_jax.interfaces import Array, ImageSpec
from lowdiff_jax.models import denoiser, pretrained, unet
from lowdiff_jax.train import optimizer


def make_denoiser(
  config: ConfigDict, spec: ImageSpec, upsample: Callable[[Array], Array]
) -> denoiser.UnifiedDenoiser:
  """The unified denoiser; or the baseline's, of the last resolution alone."""
  resolutions = config.stages.resolutions
  sigma_data = dict(zip(resolutions, config.stages.sigma_data, strict=True))
  model = config.model
  backbone = unet.UNet(
    resolution=spec.resolution,
    out_channels=spec.channels,
    model_channels=model.channels,
    channel_mult=model.channel_mult,
    num_blocks=model.num_blocks,
    attn_resolutions=model.attn_resolutions,
    dropout=model.dropout,
    num_classes=spec.num_classes,
    augment_dim=NUM_LABELS if config.data.augment > 0 else 0,
    entry=model.entry,
    condition_channels=spec.channels if config.cascade else 0,
    dtype=jnp.dtype(model.dtype),
  )
  return denoiser.UnifiedDenoiser(
    backbone,
    resolutions if config.cascade else resolutions[-1:],
    lambda sigma, side: precondition.edm(sigma, sigma_data=sigma_data[side]),
    upsample,
  )


def pretrained_params(
  config: ConfigDict, params: dict[str, Any]
) -> dict[str, Any]:
  """`params` with the backbone's from the file `config.model.init_from`.

  Args:
    config: the config.
    params: freshly initialised, on the host.

  Returns:
    The tree.

  Raises:
    UserError: the file is not of this network.
  """
  state = pretrained.read_state(Path(config.model.init_from).expanduser())
  loaded = pretrained.unet_params(state)
  # Without augmentation its labels are zero, and what maps them of no effect.
  if "map_augment" not in params["backbone"]["mapping"]:
    loaded["mapping"].pop("map_augment", None)
  return pretrained.overlay(params, {"backbone": loaded})


def loss_stages(config: ConfigDict) -> list[loss.StageLoss]:
  """How each stage is trained."""
  section = config.stages
  stages = [
    loss.StageLoss(
      resolution=resolution,
      images=section.images[k],
      p_mean=section.p_mean[k],
      p_std=section.p_std[k],
      weight=functools.partial(
        loss.edm_weight, sigma_data=section.sigma_data[k]
      ),
      scale=section.loss_scale[k],
      max_low_res_sigma=section.max_low_res_sigma[k],
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
