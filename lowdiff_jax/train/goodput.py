"""Goodput: what share of a run's wall time its training steps have."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

from lowdiff_jax.types import Metrics

# All that is not spent on another part is spent on steps.
PARTS = ("steps", "input", "compile", "checkpoint", "evaluation", "restarts")


class Goodput:
  """The wall time of a run, over all its starts, in seconds of each part.

  Nothing waits for the devices to measure it: steps that are dispatched run
  during the other parts too, so the share of steps is a lower bound of the time
  for which the devices computed. Restarts are the time from the save of the
  checkpoint that a start goes on from until that start: steps that were lost,
  waiting for machines, and loading.
  """

  def __init__(self, before: Mapping[str, Any] | None = None):
    """Starts the clock.

    Args:
      before: the `record` in the checkpoint that training goes on from.
    """
    self._since = time.monotonic()
    self._seconds = dict.fromkeys(PARTS, 0.0)
    if before is not None:
      for part in PARTS:
        self._seconds[part] = float(before["seconds"][part])
      if before["saved"] is not None:
        # Clocks of two machines may differ.
        away = max(0.0, time.time() - float(before["saved"]))
        self._seconds["restarts"] += away

  @contextlib.contextmanager
  def spending(self, part: str) -> Iterator[None]:
    """Counts the body's time for one of `PARTS`; they do not nest."""
    start = time.monotonic()
    try:
      yield
    finally:
      self._count("steps", start)
      self._count(part, time.monotonic())

  def _count(self, part: str, until: float) -> None:
    self._seconds[part] += until - self._since
    self._since = until

  def scalars(self) -> Metrics:
    """The share of each part so far, as "goodput/steps"."""
    self._count("steps", time.monotonic())
    total = max(sum(self._seconds.values()), 1e-9)
    return {f"goodput/{part}": self._seconds[part] / total for part in PARTS}

  def record(self, *, finished: bool) -> dict[str, Any]:
    """What a later start needs, as JSON.

    Args:
      finished: whether the run ends with this checkpoint; the time until it is
        made longer is not lost.
    """
    self._count("steps", time.monotonic())
    saved = None if finished else time.time()
    return {"seconds": dict(self._seconds), "saved": saved}

  def summary(self) -> str:
    """The shares in a line."""
    shares = self.scalars()
    hours = sum(self._seconds.values()) / 3600
    parts = [f"{part} {shares[f'goodput/{part}']:.1%}" for part in PARTS]
    return f"goodput of {hours:.2f} h: {', '.join(parts)}"
