"""Mode train: from the newest checkpoint, if any, to the scores."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from clu import parameter_overview
from ml_collections import ConfigDict

from lowdiff_jax import distributed
from lowdiff_jax.cli import evaluate, sample
from lowdiff_jax.data import pipeline
from lowdiff_jax.distributed import is_main
from lowdiff_jax.experiment import (
  Experiment,
  build_experiment,
  make_evaluator,
  open_data,
  trained,
)
from lowdiff_jax.generate import grids
from lowdiff_jax.train import loop
from lowdiff_jax.train.checkpoint import Checkpoints
from lowdiff_jax.train.state import TrainState
from lowdiff_jax.train.writer import MetricWriter, NullWriter
from lowdiff_jax.types import Batch, Evaluator, ImageSource, Metrics


def run(config: ConfigDict, workdir: Path) -> None:
  """Trains; then samples and scores."""
  data = open_data(config)
  experiment = build_experiment(config, data.train.spec, data.latents)
  with contextlib.ExitStack() as stack:
    checkpoints = stack.enter_context(
      contextlib.closing(
        Checkpoints(workdir / "checkpoints", keep=config.train.keep_checkpoints)
      )
    )
    state = _start(experiment, checkpoints)
    writer = NullWriter()
    if is_main():
      (workdir / "config.json").write_text(config.to_json(indent=2) + "\n")
      writer = MetricWriter(workdir, int(state.step))
    stack.enter_context(contextlib.closing(writer))
    section, evaluator = config.evaluation, None
    if section.images or section.images_on_the_way:
      evaluator = make_evaluator(config, data, experiment)
    loop.train(
      state,
      train_step=experiment.step,
      batches=lambda start: device_batches(experiment, data.train, start),
      key=jax.random.key(config.seed),
      schedule=loop.Schedule(
        num_steps=experiment.steps(config.train.images),
        batch_size=experiment.batch_size,
        log_every=experiment.steps(config.train.log_images),
        evaluate_every=experiment.steps(config.train.evaluate_images),
        checkpoint_every=experiment.steps(config.train.checkpoint_images),
      ),
      checkpoints=checkpoints,
      meta=experiment.meta,
      writer=writer,
      evaluate=_on_the_way(experiment, data.test, evaluator, workdir, writer),
    )
  result = trained.load(config, workdir, experiment)
  sample.write_images(workdir, *result)
  if section.images:
    evaluate.score_checkpoint(workdir, *result, evaluator)


def _start(experiment: Experiment, checkpoints: Checkpoints) -> TrainState:
  """The newest checkpoint, or a fresh state."""
  if checkpoints.latest_step() is not None:
    state = checkpoints.restore(experiment.state_shapes)
    if is_main():
      print(f"resuming at step {int(state.step)}")
    return state
  state = experiment.init()
  if is_main():
    count = parameter_overview.count_parameters(state.params)
    print(f"a new run of {count:,} parameters")
  return state


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
  workdir: Path,
  writer: Any,
) -> Callable[[TrainState], Metrics]:
  """Validation losses; and a score of few images and a grid of them, if any."""
  section = experiment.config.evaluation
  held_out = source.read(np.arange(min(section.validation_images, len(source))))
  folder = workdir / "samples"

  def watch(state: TrainState) -> Metrics:
    values = experiment.validate(state.ema_params, held_out)
    count, shown = section.images_on_the_way, []
    if count == 0:
      return values
    subject = trained.pictures(
      experiment, experiment.generate, state.ema_params, count
    )

    def read(start):
      for batch in subject.read(start):
        shown.extend(batch.image[: sample.GRID_IMAGES - len(shown)])
        yield batch

    score = evaluator.score(subject._replace(read=read))
    for name, value in score.values.items():
      values[f"score/{name}_of_{count}_images"] = value
    if is_main():
      folder.mkdir(exist_ok=True)
      step = int(state.step)
      grid = grids.grid(np.stack(shown), sample.GRID_COLUMNS)
      grids.write_png(folder / f"step_{step:08d}.png", grid)
      writer.write_image(step, "samples", grid)
    return values

  return watch
