"""The jobs of a study: programs, one at a time, within the time there is."""

import subprocess
import sys
import time
from pathlib import Path
from typing import IO, NamedTuple

# Seconds that a job has to save, once asked to stop.
GRACE = 60


class Done(NamedTuple):
  """How a job ended.

  Attributes:
    well: whether it did all it should.
    log: what it printed, in this and former studies.
  """

  well: bool
  log: Path


class Jobs:
  """Runs programs one after the other within the time.

  Attributes:
    failed: the names of those that failed.
  """

  def __init__(self, folder: Path, minutes: float):
    self._folder = folder
    self._end = time.monotonic() + 60 * minutes
    self.failed: list[str] = []

  def left(self) -> float:
    """Seconds."""
    return self._end - time.monotonic()

  def run(
    self, name: str, command: list[str], spare: float, about: str = ""
  ) -> Done | None:
    """Runs one; stops it when no more than `spare` seconds are left.

    Args:
      name: of the job and its log.
      command: the interpreter's arguments.
      spare: seconds.
      about: what else to print.

    Returns:
      How it ended; None if there was no time to start it.
    """
    seconds = self.left() - spare
    if seconds <= 0:
      return None
    self._say(f"{name} {about}")
    self._folder.mkdir(parents=True, exist_ok=True)
    log = self._folder / f"{name.replace(' ', '_')}.log"
    with log.open("a") as out:
      status = _wait([sys.executable, *command], out, seconds)
    if status is None:
      self._say(f"{name}: stopped, its time is up")
    elif status:
      self.failed.append(name)
      self._say(f"{name}: failed with exit status {status}, see {log}")
    return Done(status == 0, log)

  def _say(self, text: str) -> None:
    left = max(0.0, self.left() / 60)
    print(f"{left:7.1f} min left: {text.rstrip()}", flush=True)


def _start(command: list[str], out: IO[str]) -> subprocess.Popen[bytes]:
  # Ctrl-C is for the study, which then asks the job to stop: once, as training
  # takes a second signal for haste and does not save.
  return subprocess.Popen(
    command, stdout=out, stderr=out, start_new_session=True
  )


def _wait(command: list[str], out: IO[str], seconds: float) -> int | None:
  """The exit status; None if it was stopped because the time was up."""
  process = _start(command, out)
  try:
    return process.wait(seconds)
  except subprocess.TimeoutExpired:
    return None
  finally:
    if process.poll() is None:
      process.terminate()
      try:
        process.wait(GRACE)
      except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
