"""The training loop: steps, logs, evaluations, checkpoints, interruptions."""

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.train.checkpoint import Checkpoints
from lowdiff_jax.train.goodput import Goodput
from lowdiff_jax.train.preemption import StopSignal
from lowdiff_jax.train.schedule import Schedule
from lowdiff_jax.train.state import TrainState
from lowdiff_jax.train.step import TrainStep
from lowdiff_jax.train.watch import Watch
from lowdiff_jax.train.writer import MetricWriter, NullWriter
from lowdiff_jax.types import Array, Batch, Metrics


class Run(NamedTuple):
  """Where training writes, and what it is watched by.

  Attributes:
    folder: of the run: for traces and the stacks of a stall.
    checkpoints: where to save.
    meta: saved with each checkpoint.
    writer: `writer.MetricWriter`.
    evaluate: state -> metrics to log, and the score: the lowest is the best;
      writes its own images.
    goodput: of the run so far.
  """

  folder: AnyPath
  checkpoints: Checkpoints
  meta: dict[str, Any]
  writer: MetricWriter | NullWriter
  evaluate: Callable[[TrainState], tuple[Metrics, float]]
  goodput: Goodput


def train(
  state: TrainState,
  *,
  train_step: TrainStep,
  batches: Callable[[int], Iterator[Batch]],
  key: Array,
  schedule: Schedule,
  run: Run,
) -> TrainState:
  """Trains until schedule.num_steps have been taken.

  Args:
    state: where to start; donated.
    train_step: jitted, with the state donated.
    batches: step -> iterator over the global batches from that step on.
    key: of the run; step k uses fold_in(key, k).
    schedule: when to log, evaluate, save and stop.
    run: where to write.

  Returns:
    The last state, which is saved.

  Raises:
    UserError: a loss was not finite; the last good checkpoint is kept.
    SystemExit: SIGTERM or Ctrl-C; what was trained is saved.
  """
  step, size = int(state.step), schedule.batch_size
  checkpoints = run.checkpoints
  # Of steps with another batch size too, if there were any.
  before = int(state.images_seen) - step * size
  data, last_save = batches(step), time.monotonic()
  watch = Watch(run.folder, run.writer, schedule, step, run.goodput)
  with StopSignal(schedule.grace_seconds) as stop, watch:
    while step < schedule.num_steps:
      with watch.spending("input"):
        batch = next(data)
      with watch.stepping(step + 1):
        state, metrics = train_step(state, key, batch)
      step += 1
      stopping = stop.received(step) and step < schedule.num_steps
      saving = stopping or schedule.saves(step, last_save)
      watch.add(step, metrics)
      if saving or step % schedule.log_every == 0:
        watch.log(step, before + step * size, checkpoints.latest_step())
      with watch.spending("checkpoint"):
        if saving:
          record = watch.goodput.record(finished=step == schedule.num_steps)
          checkpoints.save(state, {**run.meta, "goodput": record})
          last_save = time.monotonic()
        checkpoints.add_manifests()
      if stopping:
        stop.leave(step, checkpoints.wait)
      if schedule.evaluates(step):
        with watch.spending("evaluation"):
          _evaluate(state, step, schedule, run)
  return state


def _evaluate(
  state: TrainState, step: int, schedule: Schedule, run: Run
) -> None:
  values, score = run.evaluate(state)
  run.writer.write_scalars(step, values)
  if schedule.keep_best:
    run.checkpoints.keep_if_best(step, score)
