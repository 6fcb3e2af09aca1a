"""What a run says while it works: on stdout, by process 0, not with --quiet.

Results that a mode is asked for are printed, errors and warnings go to stderr;
what only says what is going on goes through here.
"""

import contextlib
import io
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

# Seconds after which work says what it is.
PATIENCE = 5.0
# Seconds between two lines of progress where there is no terminal.
HEARTBEAT = 60.0

_quiet = False


def set_quiet(quiet: bool) -> None:
  """Whether nothing is said, and no progress bar shown, from now on."""
  global _quiet
  _quiet = quiet


def speaks() -> bool:
  """Whether this process says anything: process 0 does, if not quiet."""
  return not _quiet and jax.process_index() == 0


def say(text: str) -> None:
  """Prints a line at once, above a progress bar if there is one."""
  if speaks():
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


@contextlib.contextmanager
def hushed() -> Iterator[None]:
  """Drops what other packages print where nothing is to be said."""
  nowhere = contextlib.redirect_stdout(io.StringIO())
  with contextlib.nullcontext() if speaks() else nowhere:
    yield


@contextlib.contextmanager
def taking(what: str, patience: float | None = None) -> Iterator[None]:
  """Says "`what` ..." once that takes long, and at the end how long it took.

  Args:
    what: is done, as in "compiling the sampler".
    patience: seconds of silence; `PATIENCE` by default. What takes less is
      not mentioned at all.
  """
  said = threading.Event()

  def announce() -> None:
    said.set()
    say(f"{what} ...")

  timer = threading.Timer(PATIENCE if patience is None else patience, announce)
  timer.daemon = True
  since = time.monotonic()
  timer.start()
  try:
    yield
  finally:
    timer.cancel()
    timer.join()
  if said.is_set():
    say(f"{what} took {time.monotonic() - since:.0f} s")


class Progress:
  """How many images are done: a bar on a terminal, otherwise a line a minute.

  Attributes:
    note: shown with it, such as the loss.
  """

  def __init__(self, what: str, total: int, done: int = 0, delay: float = 0.0):
    """Shows what was done before; `with` ends it.

    Args:
      what: is done, as in "train".
      total: number of images.
      done: of them, before.
      delay: seconds before a bar is shown.
    """
    self.note = ""
    self._what, self._total, self._done = what, total, done
    self._is_bar = speaks() and sys.stderr.isatty() and done < total
    self._bar = tqdm(
      desc=what,
      total=total,
      initial=done,
      unit="img",
      unit_scale=True,
      disable=not self._is_bar,
      delay=delay,
    )
    # When the last line was, and what was done then.
    self._said = time.monotonic(), done

  def __enter__(self) -> "Progress":
    return self

  def __exit__(self, *unused: object) -> None:
    self._bar.close()

  def update(self, count: int) -> None:
    """So many more images are done."""
    self._done += count
    self._bar.set_postfix_str(self.note, refresh=False)
    self._bar.update(count)
    (since, before), now = self._said, time.monotonic()
    if self._is_bar or now - since < HEARTBEAT:
      return
    self._said = now, self._done
    rate = (self._done - before) / (now - since)
    hours = (self._total - self._done) / rate / 3600
    note = f" ({self.note})" if self.note else ""
    say(
      f"{self._what}: {self._done:,} of {self._total:,} images{note}, "
      f"{rate:.3g} images/s, {hours:.2f} h left"
    )


class Compiling:
  """A jitted function that says how long it compiles, for each batch size."""

  def __init__(self, what: str, function: Callable[..., Any], **options: Any):
    """Jits it.

    Args:
      what: the function is, as in "the sampler".
      function: of positional arguments. The shapes of the first, such as
        parameters, are always the same.
      **options: of `jax.jit`.
    """
    self._what, self._compiled = what, set[Any]()
    self._jitted: Any = jax.jit(function, **options)

  def lower(self, *args: Any) -> Any:
    """`jax.jit`'s `lower`."""
    return self._jitted.lower(*args)

  def compile(self, *args: Any) -> Any:
    """The program, as of `lower(*args).compile()`."""
    with taking(f"compiling {self._what}"):
      return self.lower(*args).compile()

  def __call__(self, *args: Any) -> Any:
    """The function's result."""
    shapes = tuple(map(np.shape, jax.tree.leaves(args[1:])))
    if shapes not in self._compiled:
      self.compile(*args)
      self._compiled.add(shapes)
    # JAX has kept the program: this does not compile it again.
    return self._jitted(*args)
