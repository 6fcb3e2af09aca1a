"""From a config to the parts of an experiment."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from ml_collections import ConfigDict

from lowdiff_jax import console, distributed
from lowdiff_jax.console import Compiling
from lowdiff_jax.data.latents.info import LatentInfo
from lowdiff_jax.diffusion.cascade import Stage
from lowdiff_jax.experiment import identity, training
from lowdiff_jax.experiment.codecs import make_codec
from lowdiff_jax.experiment.initial_params import initial_params
from lowdiff_jax.experiment.sampling import sampling_stages
from lowdiff_jax.experiment.schema import stage_names
from lowdiff_jax.generate.generator import Generator
from lowdiff_jax.models.unified import bind, init_params
from lowdiff_jax.train import state
from lowdiff_jax.train.gradient import make_gradient
from lowdiff_jax.train.objective import Objective
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
    latents: how they were encoded, if they are latents.
    mesh: of the devices.
    batch_size: images in a training batch, over all processes.
    state_shapes: the train state as shapes on their shardings.
    init: () -> train state, on its shardings.
    step: the jitted training step; donates the state.
    validate: jitted (params, batch) -> metrics.
    codec: between what a source holds, the denoiser and uint8 images.
    generator: of images, by any stages.
    stages: the config's stages of sampling, in their order.
  """

  config: ConfigDict
  spec: ImageSpec
  latents: LatentInfo | None
  mesh: Mesh
  batch_size: int
  state_shapes: state.TrainState
  init: Callable[[], state.TrainState]
  step: TrainStep
  validate: Callable[[Any, Batch], Metrics]
  codec: Codec
  generator: Generator
  stages: tuple[Stage, ...]

  def steps(self, images: float) -> int:
    """Training steps that see at least that many images."""
    return max(1, math.ceil(images / self.batch_size))

  def bind(self, params: Any) -> Denoiser:
    """The denoiser with these parameters."""
    return self.generator.bind(params)

  def meta(self) -> dict[str, Any]:
    """What a checkpoint holds besides arrays, as JSON: the run's identity."""
    return {
      "spec": self.spec._asdict(),
      "latents": None if self.latents is None else self.latents.to_json(),
      "config": identity.to_json(self.config),
      "code": identity.code_version(),
    }


def build_experiment(
  config: ConfigDict,
  spec: ImageSpec,
  latents: LatentInfo | None = None,
  *,
  devices: Sequence[jax.Device] | None = None,
) -> Experiment:
  """Builds everything except the data.

  Args:
    config: checked by `check.check`.
    spec: of the images, from the data or from a checkpoint.
    latents: how they were encoded, if so.
    devices: all by default.

  Raises:
    UserError: fields that do not go together.
  """
  _check_labels(config, spec)
  devices = jax.devices() if devices is None else devices
  denoiser = training.make_denoiser(config, spec, devices[0])
  batch_size = training.batch_size(config)
  optimizer = training.make_optimizer(config, batch_size)

  def init(key: Array) -> state.TrainState:
    params = init_params(denoiser, key, spec.channels)
    return state.create(params, optimizer)

  key = jax.random.key(config.seed)
  shapes = jax.eval_shape(init, key)
  mesh = _make_mesh(config, shapes, devices)
  shardings = distributed.state_shardings(mesh, shapes)
  everywhere = distributed.replicated(mesh)
  out = (shardings, everywhere)
  fresh = _compiled_once(init, shardings)
  codec = make_codec(config, spec, latents, mesh)
  objective = training.make_objective(config, denoiser, codec.normalise)
  step = _make_step(config, objective, optimizer, shardings.params)
  return Experiment(
    config=config,
    spec=spec,
    latents=latents,
    mesh=mesh,
    batch_size=batch_size,
    state_shapes=jax.tree.map(
      lambda leaf, where: leaf.update(sharding=where), shapes, shardings
    ),
    init=lambda: _load(config, fresh(key)),
    step=Compiling(
      "the training step", step, donate_argnums=0, out_shardings=out
    ),
    validate=Compiling(
      "the validation", objective.validation_loss, out_shardings=everywhere
    ),
    codec=codec,
    generator=Generator(
      functools.partial(bind, denoiser), spec, codec.decode, mesh
    ),
    stages=sampling_stages(config),
  )


def _make_step(
  config: ConfigDict, objective: Objective, optimizer: Any, shardings: Any
) -> TrainStep:
  """The training step; `shardings` are the parameters'."""
  mesh = jax.tree.leaves(shardings)[0].mesh
  gradient = make_gradient(
    objective.draw,
    objective.train_loss,
    mesh,
    jax.tree.map(lambda where: where.spec, shardings),
    microbatches=config.train.microbatches,
  )
  return make_train_step(
    gradient,
    optimizer,
    ema_half_life=config.ema.half_life_images,
    ema_ramp=config.ema.ramp,
    skips=config.train.non_finite == "skip",
  )


def _compiled_once(init: Callable[..., Any], shardings: Any) -> Any:
  """`init`, jitted; it runs once, so what takes time is to compile it."""
  options = {}
  if jax.tree.leaves(shardings)[0].mesh.devices.flat[0].platform == "cpu":
    # A quarter of the time to compile, for the same bits.
    options["xla_backend_optimization_level"] = 0
  return jax.jit(init, out_shardings=shardings, compiler_options=options)


def _load(config: ConfigDict, fresh: state.TrainState) -> state.TrainState:
  """The fresh state, with the weights that the config names, if any."""
  source = config.model.init_from
  if not source:
    return fresh
  with console.taking(f"loading {source}"):
    params = initial_params(config, fresh.params)
  # Two copies: the step donates both.
  return fresh._replace(
    params=params, ema_params=jax.tree.map(jnp.copy, params)
  )


def _make_mesh(
  config: ConfigDict, shapes: state.TrainState, devices: Sequence[jax.Device]
) -> Mesh:
  data, fsdp = config.mesh.data, config.mesh.fsdp
  if fsdp == 0:
    # The gradients are of the size of the parameters.
    leaves = jax.tree.leaves((shapes, shapes.params))
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
    fsdp = distributed.least_fsdp(size, devices)
  try:
    return distributed.make_mesh(data, fsdp, devices=devices)
  except ValueError as error:
    raise UserError(f"config.mesh: {error}") from error


def check_guidance(
  config: ConfigDict, spec: ImageSpec, field: str, scale: float
) -> None:
  """Raises UserError if a model cannot be guided, and the scale says it is.

  Args:
    config: the config.
    spec: of the images.
    field: full name of the field of the scale.
    scale: of classifier-free guidance.
  """
  if scale == 1:
    return
  field = f"config.{field} = {scale}"
  if config.model.label_dropout == 0:
    raise UserError(
      f"{field}: guidance needs config.model.label_dropout above 0 in "
      "training; set it to 1"
    )
  if not spec.num_classes:
    raise UserError(
      f"{field}: guidance needs labels, and this data has none; set it to 1"
    )


def _check_labels(config: ConfigDict, spec: ImageSpec) -> None:
  for name in stage_names(config):
    scale = config.stages[name].guidance_scale
    check_guidance(config, spec, f"stages.{name}.guidance_scale", scale)
  label = config.sampling.label
  if label >= 0 and label >= spec.num_classes:
    raise UserError(
      f"config.sampling.label = {label}: the data has {spec.num_classes} "
      "classes, counted from 0; -1 takes all in turn"
    )
