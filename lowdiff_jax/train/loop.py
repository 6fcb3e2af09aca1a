"""The training loop: steps, logs, evaluations, checkpoints, interruptions."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import jax
from jax.experimental import multihost_utils

from lowdiff_jax import console, distributed
from lowdiff_jax.train.checkpoint import Checkpoints
from lowdiff_jax.train.goodput import Goodput
from lowdiff_jax.train.log import Log
from lowdiff_jax.train.progress import Progress
from lowdiff_jax.train.state import TrainState
from lowdiff_jax.train.step import TrainStep
from lowdiff_jax.train.trace import Trace
from lowdiff_jax.train.watchdog import Watchdog
from lowdiff_jax.train.writer import MetricWriter, NullWriter
from lowdiff_jax.types import Array, Batch, Metrics


class StopSignal:
  """Turns SIGTERM and Ctrl-C into a flag; a second one acts at once.

  With several processes JAX itself catches SIGTERM and agrees on a step.
  """

  def __enter__(self) -> "StopSignal":
    self.number = 0
    self._before = {}
    if jax.process_count() == 1:
      for number in (signal.SIGTERM, signal.SIGINT):
        self._before[number] = signal.signal(number, self._receive)
    return self

  def __exit__(self, *unused: Any) -> None:
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def _receive(self, number: int, frame: Any) -> None:
    del frame
    self.number = number
    self.__exit__()

  def received(self, step: int) -> bool:
    """Whether to stop after `step`; the same answer in all processes."""
    if jax.process_count() == 1:
      return self.number != 0
    return multihost_utils.reached_preemption_sync_point(step)


class Schedule(NamedTuple):
  """When training does what, in steps; batch_size is that of all processes.

  Attributes:
    num_steps: after which training ends, with all of the others.
    batch_size: images of a step.
    log_every: steps.
    evaluate_every: steps.
    checkpoint_every: steps.
    keep_every: steps between checkpoints that stay for good; 0: none.
    keep_best: whether each evaluation saves, so that the best can stay.
    checkpoint_seconds: since the last save after which the next log saves; 0:
      never.
    profile: (first, last) step to trace; (0, 0): none.
    stall_seconds: without a step after which the program ends; 0: never.
  """

  num_steps: int
  batch_size: int
  log_every: int
  evaluate_every: int
  checkpoint_every: int
  keep_every: int = 0
  keep_best: bool = False
  checkpoint_seconds: float = 0.0
  profile: tuple[int, int] = (0, 0)
  stall_seconds: float = 0.0

  def evaluates(self, step: int) -> bool:
    """Whether the state after this step is evaluated."""
    return step == self.num_steps or step % self.evaluate_every == 0

  def saves(self, step: int, last_save: float) -> bool:
    """Whether the state after this step is saved.

    Args:
      step: the step.
      last_save: time.monotonic() then; that of process 0 counts.
    """
    if step == self.num_steps or step % self.checkpoint_every == 0:
      return True
    if self.keep_every and step % self.keep_every == 0:
      return True
    if self.keep_best and self.evaluates(step):
      return True
    # The processes talk about it: at logs alone, which wait for all anyway.
    if not self.checkpoint_seconds or step % self.log_every:
      return False
    overdue = time.monotonic() - last_save >= self.checkpoint_seconds
    return bool(distributed.agree(int(overdue)))


class Run(NamedTuple):
  """Where training writes, and what it is watched by.

  Attributes:
    folder: of the run: for traces and the stacks of a stall.
    checkpoints: where to save.
    meta: saved with each checkpoint.
    writer: `writer.MetricWriter`.
    evaluate: state -> metrics to log, and the score: the lowest is the best;
      writes its own images.
    skips: whether `train_step` leaves the state as it was if a step is not
      finite; otherwise such a step ends the run.
    goodput: `Goodput.record` of the checkpoint that training goes on from.
  """

  folder: Path
  checkpoints: Checkpoints
  meta: dict[str, Any]
  writer: MetricWriter | NullWriter
  evaluate: Callable[[TrainState], tuple[Metrics, float]]
  skips: bool = False
  goodput: dict[str, Any] | None = None


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
    SystemExit: SIGTERM or Ctrl-C, with the save under way.
  """
  step, size, checkpoints = (
    int(state.step),
    schedule.batch_size,
    run.checkpoints,
  )
  # Of steps with another batch size too, if there were any.
  before = int(state.images_seen) - step * size
  goodput, log = Goodput(run.goodput), Log(run.writer, size, skips=run.skips)
  data, part, last_save = batches(step), "compile", time.monotonic()
  with (
    StopSignal() as stop,
    contextlib.closing(
      Trace(run.folder / "profile", schedule.profile)
    ) as trace,
    Watchdog(run.folder, schedule.stall_seconds) as watchdog,
    Progress(before + step * size, before + schedule.num_steps * size) as bar,
  ):
    while step < schedule.num_steps:
      with goodput.spending("input"):
        batch = next(data)
      trace.before(step + 1)
      with goodput.spending(part), watchdog.paused(part == "compile"):
        state, metrics = train_step(state, key, batch)
      step, part = step + 1, "steps"
      log.add(metrics)
      stopping = stop.received(step) and step < schedule.num_steps
      saving = stopping or schedule.saves(step, last_save)
      if saving or step % schedule.log_every == 0:
        kept, seen = checkpoints.latest_step(), before + step * size
        bar.loss(log.write(step, seen, kept, goodput.scalars()))
      trace.after(step, metrics)
      bar.update(step, size)
      with goodput.spending("checkpoint"):
        if saving:
          record = goodput.record(finished=step == schedule.num_steps)
          checkpoints.save(state, {**run.meta, "goodput": record})
          last_save = time.monotonic()
        checkpoints.add_manifests()
      if stopping:
        break
      if schedule.evaluates(step):
        with goodput.spending("evaluation"), watchdog.paused():
          _evaluate(state, step, schedule, run)
        log.restart_clock()
  console.say(goodput.summary())
  if step < schedule.num_steps:
    _leave(step, stop.number or signal.SIGTERM)
  return state


def _evaluate(
  state: TrainState, step: int, schedule: Schedule, run: Run
) -> None:
  values, score = run.evaluate(state)
  run.writer.write_scalars(step, values)
  if schedule.keep_best:
    run.checkpoints.keep_if_best(step, score)


def _leave(step: int, number: int) -> NoReturn:
  console.say(f"stopped at step {step} and saved; the same command goes on")
  raise SystemExit(128 + number)
