"""What a run tells of itself while it trains."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import jax

from lowdiff_jax import console
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.train.goodput import Goodput
from lowdiff_jax.train.log import Log
from lowdiff_jax.train.schedule import Schedule
from lowdiff_jax.train.trace import Trace
from lowdiff_jax.train.watchdog import Watchdog
from lowdiff_jax.train.writer import MetricWriter, NullWriter
from lowdiff_jax.types import Metrics

# Parts of the time in which the next step may be late: how many times as late.
LATE = {"compile": math.inf, "evaluation": 10.0}


class Watch:
  """Logs, goodput, progress and a trace; and the end of a run that stalls.

  Attributes:
    goodput: the time so far.
  """

  def __init__(
    self,
    folder: AnyPath,
    writer: MetricWriter | NullWriter,
    schedule: Schedule,
    step: int,
    goodput: Goodput,
  ):
    """Prepares it; `with` starts it.

    Args:
      folder: of the run: for traces and the stacks of a stall.
      writer: of the logs.
      schedule: of the training.
      step: the last one before.
      goodput: of the run so far.
    """
    self.goodput = goodput
    self._log = Log(writer, schedule.batch_size, skips=schedule.skips)
    self._trace = Trace(folder / "profile", schedule.profile)
    self._watchdog = Watchdog(folder, schedule.stall_seconds)
    size = self._batch_size = schedule.batch_size
    self._progress = console.Progress(
      "train", schedule.num_steps * size, step * size
    )
    self._loss = "no loss yet"
    self._compiled = False
    self._stack = contextlib.ExitStack()

  def __enter__(self) -> "Watch":
    for part in (self._watchdog, self._progress):
      self._stack.enter_context(part)
    self._stack.callback(self._trace.close)
    return self

  def __exit__(self, *error: Any) -> None:
    self._stack.__exit__(*error)
    if self._compiled and error[0] in (None, SystemExit):
      console.say(self.goodput.summary())

  @contextlib.contextmanager
  def spending(self, part: str) -> Iterator[None]:
    """Counts the body's time for a part of the goodput."""
    with (
      self.goodput.spending(part),
      self._watchdog.patient(LATE.get(part, 1.0)),
    ):
      yield
    if part == "evaluation":
      self._log.restart_clock()

  @contextlib.contextmanager
  def stepping(self, step: int) -> Iterator[None]:
    """The body dispatches this step; the first one is compiled before."""
    self._trace.before(step)
    with (
      jax.profiler.StepTraceAnnotation("train", step_num=step),
      self.spending("steps" if self._compiled else "compile"),
    ):
      yield
    self._compiled = True

  def add(self, step: int, metrics: Metrics) -> None:
    """A step has been dispatched that gives these metrics."""
    self._watchdog.step()
    self._log.add(metrics)
    self._trace.after(step, metrics)
    self._progress.note = f"step {step:,}, {self._loss}"
    self._progress.update(self._batch_size)

  def log(self, step: int, images: int, kept: int | None) -> None:
    """Waits for the last step, and logs; see `Log.write`."""
    loss = self._log.write(step, images, kept, self.goodput.scalars())
    self._loss = "no finite loss" if loss is None else f"loss {loss:.4f}"
