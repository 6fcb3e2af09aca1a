"""Ends a program whose training stands still, so that it is started again."""

import contextlib
import faulthandler
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import NoReturn

import jax

from lowdiff_jax import files
from lowdiff_jax.buckets import AnyPath

# Exit status of a program that a later start may mend: EX_TEMPFAIL.
STATUS = os.EX_TEMPFAIL
# Seconds for a file in a folder that may be what the program waits for.
_PATIENCE = 10.0


class Watchdog(threading.Thread):
  """Ends the process if no step is taken for too long.

  It counts its own wake-ups, so time in which the process is suspended does not
  count.
  """

  def __init__(self, folder: AnyPath, seconds: float):
    """Prepares it; `with` starts it.

    Args:
      folder: where it writes the stacks of all threads, as
        stall_process_<index>.txt.
      seconds: without a step; 0: never.
    """
    super().__init__(daemon=True)
    self._path = folder / f"stall_process_{jax.process_index()}.txt"
    self._seconds = seconds
    self._idle, self._times = 0.0, 1.0
    self._ending = threading.Event()

  def __enter__(self) -> "Watchdog":
    if self._seconds:
      self.start()
    return self

  def __exit__(self, *unused: object) -> None:
    self._ending.set()

  def step(self) -> None:
    """A step has been taken."""
    self._idle = 0.0

  @contextlib.contextmanager
  def patient(self, times: float) -> Iterator[None]:
    """Lets the body take so many times as long: compiling, for ever."""
    self._idle, self._times = 0.0, times
    try:
      yield
    finally:
      self._idle, self._times = 0.0, 1.0

  def run(self) -> None:
    """Waits for the end of training or for a stall."""
    pause = min(self._seconds / 10, 5.0)
    while not self._ending.wait(pause):
      self._idle += pause
      if self._idle >= self._seconds * self._times:
        self._end()

  def _end(self) -> NoReturn:
    with contextlib.suppress(OSError):
      faulthandler.dump_traceback(sys.stderr)
    # The folder may be in a bucket: a file descriptor is of a local file.
    writer = threading.Thread(target=self._write, daemon=True)
    writer.start()
    writer.join(_PATIENCE)
    with contextlib.suppress(OSError):
      sys.stderr.write(
        f"error: no training step for {self._idle / 60:.3g} minutes "
        "(config.train.stall_minutes); the stacks of all threads are above and "
        f"in {self._path}: the same command goes on from the last checkpoint\n"
      )
      sys.stderr.flush()
    os._exit(STATUS)

  def _write(self) -> None:
    with tempfile.TemporaryFile() as file:
      faulthandler.dump_traceback(file)
      file.seek(0)
      files.write_bytes(self._path, file.read())
