"""What training logs: means of the metrics of the steps since the last log."""

import time

import jax
import numpy as np

from lowdiff_jax.train.writer import MetricWriter, NullWriter
from lowdiff_jax.types import Metrics, UserError

# So many skipped steps in a row end the run: its weights are of no use.
MAX_SKIPPED = 10


class Log:
  """The metrics of steps that are under way, until they are logged.

  Only `write` waits for the devices.
  """

  def __init__(
    self, writer: MetricWriter | NullWriter, batch_size: int, *, skips: bool
  ):
    """Starts the clock.

    Args:
      writer: of the means.
      batch_size: images of each step.
      skips: whether steps that are not finite are skipped, and counted here,
        instead of an error.
    """
    self._writer, self._skips = writer, skips
    self._batch_size = batch_size
    self._pending: list[Metrics] = []
    self._skipped_in_a_row = 0
    self.restart_clock()

  def restart_clock(self) -> None:
    """What was done until now does not count for the images per second."""
    self._since = time.perf_counter()

  def add(self, metrics: Metrics) -> None:
    """Keeps the metrics of a step, which may still be being computed."""
    self._pending.append(metrics)

  def write(
    self, step: int, images: int, kept: int | None, more: Metrics
  ) -> float | None:
    """Writes the means since the last log.

    Args:
      step: the last one that was added.
      images: seen in training.
      kept: the step of the newest checkpoint, for the error's message.
      more: scalars to write with them.

    Returns:
      The mean loss; None if all steps were skipped.

    Raises:
      UserError: a step was not finite, or `MAX_SKIPPED` in a row were skipped.
    """
    fetched: list[dict[str, np.ndarray]] = jax.device_get(self._pending)
    finite = []
    for number, metrics in enumerate(fetched, step - len(fetched) + 1):
      # An infinite gradient spoils the parameters before the loss shows it.
      if np.isfinite([metrics["loss"], metrics["grad_norm"]]).all():
        finite.append(metrics)
        self._skipped_in_a_row = 0
      else:
        self._skip(number, kept)
    means = {
      name: float(np.mean([metrics[name] for metrics in finite]))
      for name in (finite[0] if finite else ())
    }
    if self._skips:
      means["skipped_steps"] = float(len(fetched) - len(finite))
    seconds = time.perf_counter() - self._since
    means["images_per_second"] = len(fetched) * self._batch_size / seconds
    self._writer.write_scalars(step, {"images": images, **means, **more})
    self._pending = []
    self.restart_clock()
    return means.get("loss")

  def _skip(self, step: int, kept: int | None) -> None:
    """Counts a step that was not finite; raises if that is not to go on."""
    self._skipped_in_a_row += 1
    if self._skips and self._skipped_in_a_row < MAX_SKIPPED:
      return
    what = f"the loss is not finite at step {step}"
    if self._skips:
      what = f"{MAX_SKIPPED} steps in a row were skipped up to step {step}"
    state = "no checkpoint yet" if kept is None else f"step {kept} is kept"
    raise UserError(
      f"{what} ({state}): lower config.optimizer.learning_rate or "
      "config.optimizer.clip_norm"
    )
