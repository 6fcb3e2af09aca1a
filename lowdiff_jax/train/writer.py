"""Metrics as JSON lines and as TensorBoard events."""

import json
import math
import tempfile
import time
from pathlib import Path

import numpy as np
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog

from lowdiff_jax import buckets, files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.types import Metrics

METRICS = "metrics.jsonl"
# Between two uploads of TensorBoard's events.
_SECONDS = 60.0


class MetricWriter:
  """Writes what clu's metric writers write, without TensorFlow.

  What an earlier run logged after `start_step`, before it was killed, is
  dropped: those steps are taken again.

  All is written when it is given, in the caller's thread: tensorboardX's own
  thread ends without a word if the disk is full, and its queue then blocks.

  In a bucket, where nothing can be appended, metrics.jsonl is uploaded anew at
  each log, and the events of TensorBoard once a minute and at the end.
  """

  def __init__(self, workdir: AnyPath, start_step: int = 0):
    self._workdir, self._uploaded = workdir, -math.inf
    self._temporary: tempfile.TemporaryDirectory | None = None
    folder = workdir
    if buckets.is_in_bucket(workdir):
      self._temporary = tempfile.TemporaryDirectory()
      folder = Path(self._temporary.name)
    self._path = folder / METRICS
    kept = _lines(workdir / METRICS, start_step)
    files.write_text(self._path, "".join(kept))
    self._upload(self._path)
    self._folder = folder / "tensorboard"
    files.make_folder(self._folder)
    first = start_step + 1
    with files.writing(self._folder):
      self._board = EventsWriter(str(self._folder / "events"))
      self._board.write_event(Event(step=first, file_version="brain.Event:2"))
      start = SessionLog(status=SessionLog.START)
      self._board.write_event(Event(step=first, session_log=start))

  def write_scalars(self, step: int, scalars: Metrics) -> None:
    """One line of JSON, and a TensorBoard scalar each."""
    values = {name: float(value) for name, value in scalars.items()}
    with files.writing(self._path), self._path.open("a") as lines:
      lines.write(json.dumps({"step": step, **values}) + "\n")
    self._upload(self._path)
    found = [summary.scalar(name, value) for name, value in values.items()]
    self._write_events(step, *found)

  def write_image(self, step: int, name: str, image: np.ndarray) -> None:
    """A image [H,W,3] uint8 for TensorBoard."""
    self._write_events(step, summary.image(name, image, dataformats="HWC"))

  def close(self) -> None:
    """Closes the file of events."""
    with files.writing(self._folder):
      self._board.close()
    self._upload(*self._folder.iterdir())
    if self._temporary is not None:
      self._temporary.cleanup()

  def _write_events(self, step: int, *found: summary.Summary) -> None:
    with files.writing(self._folder):
      for one in found:
        event = Event(step=step, summary=one, wall_time=time.time())
        self._board.write_event(event)
      self._board.flush()
    if time.monotonic() > self._uploaded + _SECONDS:
      self._upload(*self._folder.iterdir())
      self._uploaded = time.monotonic()

  def _upload(self, *paths: AnyPath) -> None:
    """Uploads files, if the run is in a bucket."""
    if self._temporary is None:
      return
    for path in paths:
      target = self._workdir / path.relative_to(self._temporary.name)
      with files.writing(target):
        buckets.upload(path, target)


def _lines(path: AnyPath, last_step: int) -> list[str]:
  """The lines of an earlier run up to a step."""
  kept = []
  if path.exists():
    for line in path.read_text().splitlines():
      try:
        record = json.loads(line)
      except json.JSONDecodeError:  # The write was cut short.
        continue
      if record["step"] <= last_step:
        kept.append(line + "\n")
  return kept


class NullWriter:
  """The writer of every process but the first."""

  def write_scalars(self, step: int, scalars: Metrics) -> None:
    """Does nothing."""

  def write_image(self, step: int, name: str, image: np.ndarray) -> None:
    """Does nothing."""

  def close(self) -> None:
    """Does nothing."""
