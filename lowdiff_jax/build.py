"""From a config to the parts of an experiment."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from lowdiff_jax.data import source
from lowdiff_jax.diffusion import (
  guidance,
  loss,
  noise,
  precondition,
  pyramid,
  sampler,
)
from lowdiff_jax.diffusion.cascade import Stage
from lowdiff_jax.evaluate.generate import Generate, from_uint8, make_generate
from lowdiff_jax.interfaces import (
  Array,
  Batch,
  Denoiser,
  ImageSource,
  ImageSpec,
  Metrics,
  UserError,
)
from lowdiff_jax.models import denoiser as unified
from lowdiff_jax.models import unet
from lowdiff_jax.train import optimizer, sharding, state
from lowdiff_jax.train import step as train_step


class Experiment(NamedTuple):
  """The parts that a config describes.

  Attributes:
    config: as given, for the numbers that the modes need.
    spec: of the images.
    mesh: of the devices.
    batch_size: images in a training batch, over all processes.
    state_shapes: the train state as shapes on their shardings.
    init: () -> train state, on its shardings.
    step: the jitted training step; donates the state.
    validate: jitted (params, batch) -> metrics.
    bind: params -> denoiser.
    stages: of sampling, the lowest resolution first.
    upsample: up2.
  """

  config: ConfigDict
  spec: ImageSpec
  mesh: Mesh
  batch_size: int
  state_shapes: state.TrainState
  init: Callable[[], state.TrainState]
  step: train_step.TrainStep
  validate: Callable[[Any, Batch], Metrics]
  bind: Callable[[Any], Denoiser]
  stages: tuple[Stage, ...]
  upsample: Callable[[Array], Array]

  def generator(
    self, stages: tuple[Stage, ...] | None = None, *, trajectory: bool = False
  ) -> Generate:
    """The jitted cascade, or some stages of it."""
    return make_generate(
      self.bind,
      self.stages if stages is None else stages,
      channels=self.spec.channels,
      upsample=self.upsample,
      mesh=self.mesh,
      trajectory=trajectory,
    )

  def steps(self, images: float) -> int:
    """Training steps that see at least that many images."""
    return max(1, math.ceil(images / self.batch_size))


def open_data(config: ConfigDict) -> tuple[ImageSource, ImageSource]:
  """The training and the held-out images."""
  return source.open_splits(
    config.data.source,
    resolution=config.stages.resolutions[-1],
    crop=config.data.crop,
    data_dir=config.data.dir,
  )


def experiment(config: ConfigDict, spec: ImageSpec) -> Experiment:
  """Builds everything but the data, whose spec a checkpoint knows as well.

  Args:
    config: checked by `schema.check`.
    spec: of the images.

  Returns:
    The parts.

  Raises:
    UserError: fields that do not go together.
  """
  if config.sampling.guidance_scale != 1 and not spec.num_classes:
    raise UserError(
      f"config.sampling.guidance_scale = {config.sampling.guidance_scale}: "
      "guidance needs labels, and this data has none; set it to 1"
    )
  if config.sampling.label >= max(spec.num_classes, 0):
    raise UserError(
      f"config.sampling.label = {config.sampling.label}: the data has "
      f"{spec.num_classes} classes, counted from 0; -1 takes all in turn"
    )
  mesh = sharding.make_mesh(**config.mesh)
  losses = _loss_stages(config)
  batch_size = max(config.stages.images)
  if batch_size % jax.device_count():
    raise UserError(
      f"config.stages.images = {config.stages.images}: a batch of {batch_size} "
      f"does not divide over {jax.device_count()} devices"
    )
  upsample = functools.partial(pyramid.upsample, method=config.stages.upsample)
  denoiser = _denoiser(config, spec, upsample)
  optimiser = _optimizer(config, batch_size)

  def init(key):
    params = unified.init_params(denoiser, key, spec.channels)
    return state.create(params, optimiser)

  key = jax.random.key(config.seed)
  shapes = jax.eval_shape(init, key)
  shardings = sharding.state_shardings(mesh, shapes)

  def train_loss(params, key, batch):
    dropout_key, key = jax.random.split(key)
    return loss.cascade_loss(
      unified.bind(denoiser, params, dropout_key),
      key,
      from_uint8(batch.image),
      batch.label,
      stages=losses,
      label_dropout=config.model.label_dropout,
    )

  def validate(params, batch):
    return loss.validation_loss(
      unified.bind(denoiser, params),
      jax.random.key(0),
      from_uint8(batch.image),
      batch.label,
      stages=losses,
    )

  step = train_step.make_train_step(
    train_loss,
    optimiser,
    ema_half_life=config.ema.half_life_images,
    ema_ramp=config.ema.ramp,
  )
  return Experiment(
    config=config,
    spec=spec,
    mesh=mesh,
    batch_size=batch_size,
    state_shapes=jax.tree.map(
      lambda s, where: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=where),
      shapes,
      shardings,
    ),
    init=functools.partial(jax.jit(init, out_shardings=shardings), key),
    step=jax.jit(
      step,
      donate_argnums=0,
      out_shardings=(shardings, sharding.replicated(mesh)),
    ),
    validate=jax.jit(validate, out_shardings=sharding.replicated(mesh)),
    bind=functools.partial(unified.bind, denoiser),
    stages=_sampling_stages(config),
    upsample=upsample,
  )


def baseline_stages(
  config: ConfigDict, sampler_name: str = ""
) -> tuple[Stage, ...]:
  """The top resolution alone, by `config.baseline` or with another sampler."""
  section = config.baseline
  sigmas = noise.karras_sigmas(
    section.steps, section.sigma_min, section.sigma_max, section.rho
  )
  return (
    Stage(
      resolution=config.stages.resolutions[-1],
      sigmas=sigmas,
      sampler=sampler.SAMPLERS[sampler_name or section.sampler],
      guide=_guide(config),
    ),
  )


def _sampling_stages(config):
  if not config.cascade:
    return baseline_stages(config)
  section, stages = config.sampling, []
  for k, resolution in enumerate(config.stages.resolutions):
    sigmas = noise.karras_sigmas(
      section.steps[k],
      section.sigma_min[k],
      section.sigma_max[k],
      section.rho[k],
    )
    stages.append(
      Stage(
        resolution=resolution,
        sigmas=sigmas,
        sampler=sampler.SAMPLERS[section.sampler[k]],
        start=section.start[k],
        low_res_sigma=section.low_res_sigma if k else 0.0,
        guide=_guide(config),
      )
    )
  return tuple(stages)


def _guide(config):
  return functools.partial(
    guidance.classifier_free,
    scale=config.sampling.guidance_scale,
    interval=config.sampling.guidance_interval,
  )


def _loss_stages(config):
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
      max_low_res_sigma=section.max_low_res_sigma,
    )
    for k, resolution in enumerate(section.resolutions)
  ]
  return stages if config.cascade else stages[-1:]


def _denoiser(config, spec, upsample):
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
    entry=model.entry,
    condition_channels=spec.channels if config.cascade else 0,
  )
  return unified.UnifiedDenoiser(
    backbone,
    resolutions if config.cascade else resolutions[-1:],
    lambda sigma, side: precondition.edm(sigma, sigma_data=sigma_data[side]),
    upsample,
  )


def _optimizer(config, batch_size) -> optax.GradientTransformation:
  section = config.optimizer
  return optimizer.adam(
    section.learning_rate,
    warmup_steps=int(np.ceil(section.warmup_images / batch_size)),
    betas=section.betas,
    eps=section.eps,
    clip_norm=section.clip_norm,
  )
