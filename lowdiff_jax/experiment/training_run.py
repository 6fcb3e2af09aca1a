"""A training run: from the newest checkpoint, if any, to the last."""

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from clu import parameter_overview

from lowdiff_jax import console, distributed, files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.data import pipeline
from lowdiff_jax.data.splits import Data
from lowdiff_jax.distributed import is_main
from lowdiff_jax.experiment import identity, memory
from lowdiff_jax.experiment.parts import Experiment
from lowdiff_jax.experiment.run_folder import load
from lowdiff_jax.experiment.trained import Trained
from lowdiff_jax.experiment.training import check_batches
from lowdiff_jax.generate import grids
from lowdiff_jax.train import loop
from lowdiff_jax.train.checkpoint import Checkpoints
from lowdiff_jax.train.goodput import Goodput
from lowdiff_jax.train.state import TrainState
from lowdiff_jax.train.writer import MetricWriter, NullWriter
from lowdiff_jax.types import Batch, Evaluator, ImageSource, Metrics


def train(
  experiment: Experiment,
  data: Data,
  workdir: AnyPath,
  evaluator: Evaluator | None = None,
) -> Trained:
  """Trains until config.train.images have been seen.

  Args:
    experiment: of the config.
    data: to train on, and held out.
    workdir: of the run: checkpoints, config.json, metrics.jsonl, tensorboard,
      samples.
    evaluator: scores images at each evaluation; None for none.

  Returns:
    The model of the last checkpoint.

  Raises:
    UserError: a stage's batch does not divide over the devices; or a loss was
      not finite, and then the last good checkpoint is kept.
    SystemExit: SIGTERM or Ctrl-C; what was trained is saved.
  """
  config = experiment.config
  check_batches(config, experiment.mesh)
  with contextlib.ExitStack() as stack:
    checkpoints = Checkpoints(
      workdir / "checkpoints",
      keep=config.train.keep_checkpoints,
      keep_every=_keep_every(experiment),
    )
    stack.callback(_close, checkpoints)
    stack.enter_context(memory.or_lower(config, *memory.of_training(config)))
    state, goodput = _start(experiment, checkpoints)
    writer: MetricWriter | NullWriter = NullWriter()
    if is_main():
      files.write_json(workdir / "config.json", identity.to_json(config))
      writer = MetricWriter(workdir, int(state.step))
    stack.enter_context(contextlib.closing(writer))
    loop.train(
      state,
      train_step=experiment.step,
      batches=lambda start: device_batches(experiment, data.train, start),
      key=jax.random.key(config.seed),
      schedule=_schedule(experiment, state),
      run=loop.Run(
        workdir,
        checkpoints,
        experiment.meta(),
        writer,
        _on_the_way(experiment, data.test, evaluator, workdir, writer),
        goodput,
      ),
    )
  return load(config, workdir, experiment)


def _keep_every(experiment: Experiment) -> int:
  images = experiment.config.train.keep_every_images
  return experiment.steps(images) if images else 0


def _close(checkpoints: Checkpoints) -> None:
  with console.taking("writing the last checkpoint"):
    checkpoints.close()


def _schedule(experiment: Experiment, state: TrainState) -> loop.Schedule:
  """When training does what; what is left is counted in images really seen."""
  section, step, seen = (
    experiment.config.train,
    int(state.step),
    int(state.images_seen),
  )
  left = math.ceil((section.images - seen) / experiment.batch_size)
  return loop.Schedule(
    num_steps=step + max(left, 0),
    batch_size=experiment.batch_size,
    log_every=experiment.steps(section.log_images),
    evaluate_every=experiment.steps(section.evaluate_images),
    checkpoint_every=experiment.steps(section.checkpoint_images),
    grace_seconds=section.grace_seconds,
    keep_every=_keep_every(experiment),
    keep_best=section.keep_best,
    checkpoint_seconds=60 * section.checkpoint_minutes,
    profile=section.profile,
    skips=section.non_finite == "skip",
    stall_seconds=60 * section.stall_minutes,
  )


def _start(
  experiment: Experiment, checkpoints: Checkpoints
) -> tuple[TrainState, Goodput]:
  """The newest checkpoint, or a fresh state; and the time it took so far."""
  if checkpoints.latest_step() is not None:
    with console.taking("checking and loading the newest checkpoint"):
      state = checkpoints.restore(experiment.state_shapes)
    with checkpoints.reading(int(state.step)) as step:
      goodput = Goodput(checkpoints.meta(step).get("goodput"))
    console.say(f"resuming at step {step}")
    return state, goodput
  with console.taking("initialising the parameters"):
    state = jax.block_until_ready(experiment.init())
  count = parameter_overview.count_parameters(state.params)
  console.say(f"a new run of {count:,} parameters")
  return state, Goodput()


def device_batches(
  experiment: Experiment, source: ImageSource, start: int
) -> Iterator[Batch]:
  """The global batches of training from step `start` on."""
  batches = pipeline.batches(
    source,
    batch_size=experiment.batch_size,
    seed=experiment.config.seed,
    start=start,
    process_index=jax.process_index(),
    process_count=jax.process_count(),
  )
  for batch in batches:
    yield distributed.global_batch(experiment.mesh, batch)


def _on_the_way(
  experiment: Experiment,
  source: ImageSource,
  evaluator: Evaluator | None,
  workdir: AnyPath,
  writer: Any,
) -> Callable[[TrainState], tuple[Metrics, float]]:
  """Validation losses; and the metrics and a grid of few images, if any.

  The score is the first of the metrics, the Frechet distance.
  """
  section = experiment.config.evaluation
  held_out = source.read(np.arange(min(section.validation_images, len(source))))
  count = section.images_during_training
  folder = workdir / "samples"
  # One program for all evaluations.
  program = experiment.generator.program(experiment.stages)

  def watch(state: TrainState) -> tuple[Metrics, float]:
    with memory.or_lower(experiment.config, "evaluation.validation_images"):
      values = experiment.validate(state.ema_params, held_out)
    if count == 0 or evaluator is None:
      return values, math.inf
    shown: list[np.ndarray] = []
    model = Trained(experiment, state.ema_params, int(state.step), 0)
    images = experiment.generator.images(
      program, state.ema_params, model.request(count)
    )

    def read(start: int) -> Iterator[Batch]:
      for batch in images.read(start):
        image = np.asarray(batch.image)
        shown.extend(image[: grids.IMAGES - len(shown)])
        yield batch

    fields = (*memory.of_sampling(experiment.config), "evaluation.batch_size")
    with memory.or_lower(experiment.config, *fields):
      score = evaluator.score(images._replace(read=read))
    for name, value in score.values.items():
      values[f"score/{name}_of_{count}_images"] = value
    if is_main():
      files.make_folder(folder)
      grid = grids.grid(np.stack(shown), grids.COLUMNS)
      grids.write_png(folder / f"step_{model.step:08d}.png", grid)
      writer.write_image(model.step, "samples", grid)
    return values, next(iter(score.values.values()), math.inf)

  return watch
