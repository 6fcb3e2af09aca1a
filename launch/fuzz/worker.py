"""A process that reads one input after another."""

import contextlib
import logging
import os
import resource
import shutil
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

from launch.fuzz.reader import (
  FAILED,
  READ,
  REFUSED,
  SKIPPED,
  Reader,
  Result,
  random_of,
)

# Above what the process holds before it reads. Reading more at once ends in a
# MemoryError, so that the machine is safe; touching more is a failure.
LIMIT_MIB, GUARD_MIB = 2048, 3072
# Of a message; its line is to be read by a person.
LONGEST = 5000

# What a worker says beside results: it waits for its first task; it has begun
# a task; the input of the task is made.
READY, BEGUN, MADE = "ready", "begun", "made"

Readers = Callable[[], Mapping[str, type[Reader]]]


class _Warnings(logging.Handler):
  """Counts what was logged."""

  def __init__(self) -> None:
    super().__init__(logging.WARNING)
    self.count = 0

  def emit(self, record: logging.LogRecord) -> None:
    """Counts one warning."""
    self.count += 1


class Inputs:
  """Makes and reads inputs in a folder."""

  def __init__(
    self, readers: Readers, seed: int, folder: Path, limit: float = LIMIT_MIB
  ) -> None:
    """Imports the readers; their seeds are made when they are first used.

    Args:
      readers: a function that imports and returns them.
      seed: of the inputs.
      folder: to work in.
      limit: MiB that reading one input may take.
    """
    # Not before it is known where JAX runs, nor while an input is timed.
    from lowdiff_jax.types import UserError

    self._refusal = UserError
    self._classes, self._seed, self._limit = readers(), seed, limit
    self._folder = folder
    self._ready: dict[str, Reader] = {}
    self._warnings = _Warnings()
    logging.getLogger("absl").addHandler(self._warnings)

  def result(
    self, name: str, number: int, made: Callable[[], None] = lambda: None
  ) -> Result:
    """What comes of one input; its files are left in `folder`/input.

    Args:
      name: of the reader.
      number: of the input.
      made: is called when it is made and is going to be read.
    """
    reader = self._reader(name)
    place = self._folder / "input"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      candidate = reader.make(random_of(self._seed, name, number), place)
    made()
    self._warnings.count = 0
    before = _reset_peak()
    since = time.monotonic()
    outcome, detail = self._outcome(reader, candidate)
    seconds = time.monotonic() - since
    used = (_status("VmHWM") - before) / 1024
    if used > self._limit and outcome != FAILED:
      outcome, detail = FAILED, f"it took {used:.0f} MiB; {outcome} {detail}"
    return Result(name, number, outcome, detail, seconds, used)

  def _reader(self, name: str) -> Reader:
    if name not in self._ready:
      seeds = self._folder / f"seeds-{name}"
      seeds.mkdir(parents=True)
      self._ready[name] = self._classes[name](seeds)
    return self._ready[name]

  def _outcome(self, reader: Reader, candidate: object) -> tuple[str, str]:
    try:
      with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reader.read(candidate)
    except self._refusal as error:
      text = str(error)
      if not text.isprintable() or not 0 < len(text) <= LONGEST:
        return FAILED, f"the message is not one short line: {text[:4000]!r}"
      return REFUSED, text
    except BaseException as error:
      if isinstance(error, KeyboardInterrupt):
        raise
      return FAILED, traceback.format_exc()[-4000:]
    return (SKIPPED if self._warnings.count else READ), ""


def _status(name: str) -> int:
  """A line of /proc/self/status in KiB."""
  for line in Path("/proc/self/status").read_text().splitlines():
    if line.startswith(name):
      return int(line.split()[1])
  raise LookupError(name)


def _reset_peak() -> int:
  """Makes VmHWM count from now on; returns the memory held now, in KiB."""
  Path("/proc/self/clear_refs").write_text("5")
  return _status("VmRSS")


def serve(
  connection: Connection,
  readers: Readers,
  seed: int,
  folder: Path,
  limit: float,
) -> None:
  """Answers (reader, number) by BEGUN, MADE and a `Result`; first says READY.

  It ends when the other side is gone.
  """
  # Readers say much; what a crash says last is wanted.
  with open(folder / "output", "ab") as file:
    os.dup2(file.fileno(), 1)
    os.dup2(file.fileno(), 2)
  inputs = Inputs(readers, seed, folder, limit)
  connection.send(READY)
  guarded = False
  with contextlib.suppress(EOFError, BrokenPipeError):
    while True:
      name, number = connection.recv()
      connection.send(BEGUN)
      if not guarded:
        # Readers need room of their own before: libraries, compiled programs.
        limit = (_status("VmSize") + (GUARD_MIB + 2048) * 1024) * 1024
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        guarded = True
      os.ftruncate(1, 0)
      connection.send(
        inputs.result(name, number, made=lambda: connection.send(MADE))
      )
