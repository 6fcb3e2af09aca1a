"""Metrics as JSON lines and as TensorBoard events."""

import json
from pathlib import Path

import numpy as np
from tensorboardX import SummaryWriter

from lowdiff_jax import files
from lowdiff_jax.types import Metrics


class MetricWriter:
  """Writes what clu's metric writers write, without TensorFlow.

  What an earlier run logged after `start_step`, before it was killed, is
  dropped: those steps are taken again.
  """

  def __init__(self, workdir: Path, start_step: int = 0):
    path = workdir / "metrics.jsonl"
    kept = []
    if path.exists():
      for line in path.read_text().splitlines():
        try:
          record = json.loads(line)
        except json.JSONDecodeError:  # The write was cut short.
          continue
        if record["step"] <= start_step:
          kept.append(line + "\n")
    files.write_text(path, "".join(kept))
    self._lines = path.open("a")
    self._board = SummaryWriter(
      str(workdir / "tensorboard"), purge_step=start_step + 1
    )

  def write_scalars(self, step: int, scalars: Metrics) -> None:
    """One line of JSON, and a TensorBoard scalar each."""
    values = {name: float(value) for name, value in scalars.items()}
    self._lines.write(json.dumps({"step": step, **values}) + "\n")
    self._lines.flush()
    for name, value in values.items():
      self._board.add_scalar(name, value, step)

  def write_image(self, step: int, name: str, image: np.ndarray) -> None:
    """A image [H,W,3] uint8 for TensorBoard."""
    self._board.add_image(name, image, step, dataformats="HWC")

  def close(self) -> None:
    """Flushes both."""
    self._lines.close()
    self._board.close()


class NullWriter:
  """The writer of every process but the first."""

  def write_scalars(self, step: int, scalars: Metrics) -> None:
    """Does nothing."""

  def write_image(self, step: int, name: str, image: np.ndarray) -> None:
    """Does nothing."""

  def close(self) -> None:
    """Does nothing."""
