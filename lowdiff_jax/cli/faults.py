"""How the program ends: one line for a mistake or a fault of a disk."""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from absl import logging as absl_logging

from lowdiff_jax import buckets, files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.cli import processes
from lowdiff_jax.train import watchdog
from lowdiff_jax.types import UserError, printable

# Of the mistakes and faults that are told in a line.
STATUS = 2
# What JAX warns of for each program that it cannot read or keep.
_CACHE = "persistent compilation cache entry"
_CACHE_FOLDER = "~/.cache/lowdiff_jax"
# What TensorStore's threads print of the writes that were given up.
_GIVEN_UP = "Event loop is closed"
# What asyncio says of a task that failed beside the one whose error was raised.
_NOT_RETRIEVED = "exception was never retrieved"


def quiet_libraries() -> None:
  """Makes each warning a line, and drops what Orbax prints of its failures.

  Each of its threads, tasks and TensorStore's prints a traceback, hundreds in
  all, of the failure that the program reports in one line, or that ended well:
  a checkpoint that training removed while it was read. JAX's cache of compiled
  programs warns once.
  """
  for name in ("absl", "asyncio", "gcsfs"):
    logging.getLogger(name).addFilter(_is_news)
  line = _Line("%(levelname)s: %(message)s")
  absl_logging.get_absl_handler().setFormatter(line)
  warnings.showwarning = _warn()
  sys.unraisablehook = _hook(sys.unraisablehook)


class _Line(logging.Formatter):
  """Makes a message one line: a file's name in it may hold anything."""

  def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
    """The line; a traceback, if there is one, comes after it."""
    return printable(super().formatMessage(record))


def _is_news(record: logging.LogRecord) -> bool:
  if _NOT_RETRIEVED in record.getMessage():
    return False
  error = record.exc_info[1] if record.exc_info else None
  if error is None:
    error = Exception(record.getMessage())
  return not files.is_fault(error)


def _warn() -> Callable[..., None]:
  """Prints a warning as a line; that of the compilation cache once."""
  cache: list[Any] = []

  def show(message: Warning | str, *args: Any, **kwargs: Any) -> None:
    del args, kwargs  # Where in the code it was.
    text = " ".join(str(message).split())
    if _CACHE in text:
      if cache:
        return
      cache.append(message)
      folder = os.environ.get("JAX_COMPILATION_CACHE_DIR", _CACHE_FOLDER)
      text += f": the run goes on; free space, or delete {folder}"
    print(f"WARNING: {printable(text)}", file=sys.stderr)

  return show


def _hook(before: Callable[[Any], object]) -> Callable[[Any], object]:
  def hook(unraisable: Any) -> None:
    if str(unraisable.exc_value) != _GIVEN_UP:
      before(unraisable)

  return hook


@contextlib.contextmanager
def of_writes(workdir: AnyPath) -> Iterator[None]:
  """Names the workdir for a write whose library does not say where it was."""
  try:
    yield
  except UserError:
    raise
  except Exception as error:
    if not files.is_fault(error):
      raise
    path = getattr(error, "filename", None) or workdir
    raise files.cannot_write(path, error) from error


def end(error: UserError) -> NoReturn:
  """Prints the line and exits with status 2.

  If a bucket did not answer, with that of what a later start may mend. After a
  disk's or bucket's fault at once: threads that still try to write are not
  waited for.
  """
  status = watchdog.STATUS if buckets.is_away(error) else STATUS
  with contextlib.suppress(OSError):  # Of a log on the same disk.
    print(f"error: {error}", file=sys.stderr, flush=True)
    sys.stdout.flush()
  processes.failed(status, unforeseen=False)
  if isinstance(error, files.DiskError):
    processes.stop()
    os._exit(status)
  sys.exit(status)
