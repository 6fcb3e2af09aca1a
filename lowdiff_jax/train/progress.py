"""How far training is: a progress bar, or a line a minute in a log."""

import sys
import time

from tqdm import tqdm

from lowdiff_jax import console
from lowdiff_jax.train.schedule import Schedule

# Seconds between two lines.
HEARTBEAT = 60.0


class Progress:
  """Shows a bar if stderr is a terminal, and otherwise lines."""

  def __init__(self, step: int, schedule: Schedule):
    """Shows where training starts.

    Args:
      step: the last one before.
      schedule: of the training.
    """
    self._size, self._last = schedule.batch_size, schedule.num_steps
    self._is_bar = console.speaks() and sys.stderr.isatty()
    self._bar = tqdm(
      total=self._last * self._size,
      initial=step * self._size,
      unit="img",
      unit_scale=True,
      disable=not self._is_bar,
      desc="train",
      mininterval=1.0,
    )
    self._loss = "no loss yet"
    # When the last line was, and at which step.
    self._said = time.monotonic(), step

  def __enter__(self) -> "Progress":
    return self

  def __exit__(self, *unused: object) -> None:
    self._bar.close()

  def loss(self, value: float | None) -> None:
    """Shows this mean loss from now on; None if all steps were skipped."""
    self._loss = "no finite loss" if value is None else f"loss {value:.4f}"
    self._bar.set_postfix_str(self._loss, refresh=False)

  def update(self, step: int) -> None:
    """A step has been taken."""
    self._bar.update(self._size)
    (since, before), now = self._said, time.monotonic()
    if self._is_bar or now - since < HEARTBEAT:
      return
    self._said = now, step
    rate = (step - before) / (now - since)
    console.say(
      f"step {step:,} of {self._last:,}, {step * self._size:,} images, "
      f"{self._loss}, {rate * self._size:.3g} images/s, "
      f"{(self._last - step) / rate / 3600:.2f} h left"
    )
