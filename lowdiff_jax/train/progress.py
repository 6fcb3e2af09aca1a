"""How far training is: a progress bar, or a line a minute in a log."""

import sys
import time

from tqdm import tqdm

from lowdiff_jax import console

# Seconds between two lines.
HEARTBEAT = 60.0


class Progress:
  """Shows the images seen, the loss, images/s and the time that is left."""

  def __init__(self, images: int, total: int, heartbeat: float = HEARTBEAT):
    """Shows a bar if stderr is a terminal.

    Args:
      images: seen before.
      total: images of the whole training.
      heartbeat: seconds between two lines, without a terminal.
    """
    bar = console.speaks() and sys.stderr.isatty()
    self._bar = tqdm(
      total=total,
      initial=images,
      unit="img",
      unit_scale=True,
      disable=not bar,
      desc="train",
      mininterval=1.0,
    )
    self._heartbeat = None if bar else heartbeat
    self._images, self._total, self._loss = images, total, ""
    self._said = time.monotonic(), images

  def __enter__(self) -> "Progress":
    return self

  def __exit__(self, *unused: object) -> None:
    self._bar.close()

  def loss(self, value: float | None) -> None:
    """Shows this mean loss from now on; None if all steps were skipped."""
    self._loss = "no finite loss" if value is None else f"loss {value:.4f}"
    self._bar.set_postfix_str(self._loss, refresh=False)

  def update(self, step: int, images: int) -> None:
    """Counts a step of so many images."""
    self._images += images
    self._bar.update(images)
    if self._heartbeat is None:
      return
    (since, before), now = self._said, time.monotonic()
    if now - since < self._heartbeat:
      return
    self._said = now, self._images
    rate = (self._images - before) / (now - since)
    left = (self._total - self._images) / rate / 3600
    parts = [
      f"step {step:,}",
      f"{self._images:,} of {self._total:,} images",
      *filter(None, [self._loss]),
      f"{rate:.3g} images/s",
      f"{left:.2f} h left",
    ]
    console.say(", ".join(parts))
