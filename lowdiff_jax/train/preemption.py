"""Stops training on SIGTERM and Ctrl-C, on whichever process they arrive."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

import jax
from jax.experimental import multihost_utils

from lowdiff_jax import console

_step: int | None = None


def at_step(step: int) -> None:
  """Lets the other processes know how far the training of this one is."""
  global _step
  _step = step


def position() -> int | None:
  """The last step of `at_step`; None before the first."""
  return _step


class StopSignal:
  """Turns SIGTERM and Ctrl-C into an agreement of all processes to stop.

  Of one process, a second signal acts at once. Of several, JAX catches SIGTERM
  and agrees on a step; each may get a SIGTERM of its own, at any time.

  Attributes:
    number: of the signal that this process got; 0 if none is known.
  """

  def __init__(self, grace: float):
    """Prepares it; `with` catches the signals.

    Args:
      grace: seconds from the signal, or from the agreement of several
        processes, in which a checkpoint should be written.
    """
    self.number, self._grace = 0, grace
    self._since, self._alone = 0.0, jax.process_count() == 1
    self._before: dict[int, Any] = {}

  def __enter__(self) -> "StopSignal":
    for number in (signal.SIGTERM, signal.SIGINT):
      if self._alone or number == signal.SIGINT:
        self._before[number] = signal.signal(number, self._receive)
    return self

  def __exit__(self, *unused: Any) -> None:
    for number, handler in self._before.items():
      signal.signal(number, handler)
    if not self._alone and not self._since:
      # JAX goes on to catch it, and nobody would ask.
      signal.signal(signal.SIGTERM, signal.SIG_DFL)

  def _receive(self, number: int, frame: Any) -> None:
    del frame
    self.number = number
    if self._alone:
      self._since = time.monotonic()
    else:
      os.kill(os.getpid(), signal.SIGTERM)  # To JAX.
    for caught, handler in self._before.items():
      signal.signal(caught, handler)

  def received(self, step: int) -> bool:
    """Whether to stop after `step`; the same answer in all processes.

    To be asked after each step.
    """
    at_step(step)
    if self._alone:
      return self.number != 0
    stops: bool = multihost_utils.reached_preemption_sync_point(step)
    if stops:
      self._since = time.monotonic()
    return stops

  def leave(self, step: int, wait: Callable[[], None]) -> NoReturn:
    """Ends the program, with the status of a signal.

    Args:
      step: whose checkpoint is being written.
      wait: returns when it is written.

    Raises:
      SystemExit: it is written. If it is not within the grace period, the
        program ends at once, in a line, and the checkpoint before it counts.
    """
    status = 128 + (self.number or signal.SIGTERM)
    left = self._since + self._grace - time.monotonic()
    deadline = threading.Timer(left, self._give_up, [step, status])
    deadline.daemon = True
    deadline.start()
    with console.taking("writing the last checkpoint"):
      wait()
    deadline.cancel()
    console.say(f"stopped at step {step} and saved; the same command goes on")
    raise SystemExit(status)

  def _give_up(self, step: int, status: int) -> NoReturn:
    console.say(
      f"stopped at step {step}, whose checkpoint was not written within "
      f"config.train.grace_seconds = {self._grace:g}: the same command goes on "
      "from the one before"
    )
    sys.stdout.flush()
    os._exit(status)
