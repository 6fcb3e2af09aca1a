"""From a config to the parts of an experiment."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from ml_collections import ConfigDict

from lowdiff_jax import distributed
from lowdiff_jax.data.augment import augment
from lowdiff_jax.data.latents.reader import LatentInfo
from lowdiff_jax.diffusion import loss, pyramid
from lowdiff_jax.diffusion.cascade import Stage
from lowdiff_jax.experiment.initial_params import initial_params
from lowdiff_jax.experiment.latent_space import make_codec
from lowdiff_jax.experiment.sampling import sampling_stages
from lowdiff_jax.experiment.training import (
  loss_stages,
  make_denoiser,
  make_optimizer,
)
from lowdiff_jax.generate.generator import Generate, make_generate
from lowdiff_jax.models.unified import bind, init_params
from lowdiff_jax.train import state
from lowdiff_jax.train.step import TrainStep, make_train_step
from lowdiff_jax.types import (
  Array,
  Batch,
  Codec,
  Denoiser,
  ImageSpec,
  Metrics,
  UserError,
)


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
    stages: of sampling, in their order.
    generate: the jitted cascade of these stages.
    generator: (stages, trajectory=False) -> that of any.
    upsample: up2.
    codec: between what a source holds, the denoiser and the eye.
    meta: what a checkpoint must hold to be sampled without the data.
  """

  config: ConfigDict
  spec: ImageSpec
  mesh: Mesh
  batch_size: int
  state_shapes: state.TrainState
  init: Callable[[], state.TrainState]
  step: TrainStep
  validate: Callable[[Any, Batch], Metrics]
  bind: Callable[[Any], Denoiser]
  stages: tuple[Stage, ...]
  generate: Generate
  generator: Callable[..., Generate]
  upsample: Callable[[Array], Array]
  codec: Codec
  meta: dict[str, Any]

  def steps(self, images: float) -> int:
    """Training steps that see at least that many images."""
    return max(1, math.ceil(images / self.batch_size))


def build_experiment(
  config: ConfigDict,
  spec: ImageSpec,
  latents: LatentInfo | None = None,
  *,
  devices: Sequence[jax.Device] | None = None,
) -> Experiment:
  """Builds everything but the data, whose spec a checkpoint knows as well.

  Args:
    config: checked by `check.check`.
    spec: of the images.
    latents: what they are encoded by, if they are latents.
    devices: to run on; all by default.

  Returns:
    The parts.

  Raises:
    UserError: fields that do not go together.
  """
  _check_labels(config, spec)
  mesh = distributed.make_mesh(**config.mesh, devices=devices)
  upsample = functools.partial(pyramid.upsample, method=config.stages.upsample)
  denoiser = make_denoiser(config, spec, upsample)
  batch_size = _batch_size(config, mesh)
  optimizer = make_optimizer(config, batch_size)

  def init(key):
    params = init_params(denoiser, key, spec.channels)
    return state.create(params, optimizer)

  key = jax.random.key(config.seed)
  shapes = jax.eval_shape(init, key)
  shardings = distributed.state_shardings(mesh, shapes)
  everywhere = distributed.replicated(mesh)
  codec = make_codec(config, spec, latents, mesh)
  train_loss, validate = _losses(config, denoiser, codec)
  step = make_train_step(
    train_loss,
    optimizer,
    ema_half_life=config.ema.half_life_images,
    ema_ramp=config.ema.ramp,
  )
  bound = functools.partial(bind, denoiser)
  stages = sampling_stages(config)
  generator = functools.partial(
    make_generate, bound, channels=spec.channels, upsample=upsample, mesh=mesh
  )
  return Experiment(
    config=config,
    spec=spec,
    mesh=mesh,
    batch_size=batch_size,
    state_shapes=jax.tree.map(
      lambda leaf, where: leaf.update(sharding=where), shapes, shardings
    ),
    init=lambda: _load(config, jax.jit(init, out_shardings=shardings)(key)),
    step=jax.jit(step, donate_argnums=0, out_shardings=(shardings, everywhere)),
    validate=jax.jit(validate, out_shardings=everywhere),
    bind=bound,
    stages=stages,
    generate=generator(stages),
    generator=generator,
    upsample=upsample,
    codec=codec,
    meta={
      "spec": spec._asdict(),
      "latents": None if latents is None else latents.to_json(),
    },
  )


def _load(config, fresh):
  """The fresh state, with the weights that the config names, if any."""
  if not config.model.init_from:
    return fresh
  params = initial_params(config, fresh.params)
  # Two copies: the step donates both.
  return fresh._replace(
    params=params, ema_params=jax.tree.map(jnp.copy, params)
  )


def _losses(config, denoiser, codec):
  """(params, key, batch) -> (loss, metrics), and (params, batch) -> metrics."""
  stages = loss_stages(config)

  def train(params, key, batch):
    dropout_key, key, augment_key = jax.random.split(key, 3)
    image, distortion = codec.normalise(batch.image), None
    if config.data.augment > 0:
      image, distortion = augment(augment_key, image, config.data.augment)
    return loss.cascade_loss(
      bind(denoiser, params, dropout_key),
      key,
      image,
      batch.label,
      stages=stages,
      label_dropout=config.model.label_dropout,
      augment=distortion,
    )

  def validate(params, batch):
    return loss.validation_loss(
      bind(denoiser, params),
      jax.random.key(0),
      codec.normalise(batch.image),
      batch.label,
      stages=stages,
    )

  return train, validate


def _batch_size(config, mesh):
  size = max(config.stages.images)
  if size % mesh.size:
    raise UserError(
      f"config.stages.images = {config.stages.images}: a batch of {size} does "
      f"not divide over {mesh.size} devices"
    )
  return size


def _check_labels(config, spec):
  section = config.sampling
  guided = set(section.guidance_scale) != {1}
  if guided and config.model.label_dropout == 0:
    raise UserError(
      f"config.sampling.guidance_scale = {section.guidance_scale}: guidance "
      "needs config.model.label_dropout above 0 in training"
    )
  if guided and not spec.num_classes:
    raise UserError(
      f"config.sampling.guidance_scale = {section.guidance_scale}: guidance "
      "needs labels, and this data has none; set all to 1"
    )
  if section.label >= 0 and section.label >= spec.num_classes:
    raise UserError(
      f"config.sampling.label = {section.label}: the data has "
      f"{spec.num_classes} classes, counted from 0; -1 takes all in turn"
    )
