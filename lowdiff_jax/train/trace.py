"""A trace of some training steps by JAX's profiler."""

import tempfile
from pathlib import Path
from typing import Any

import jax

from lowdiff_jax import console, files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.distributed import is_main


class Trace:
  """Traces steps first ... last on process 0, as all do the same.

  The trace is in TensorBoard's layout: plugins/profile/<time>/ below `folder`.
  """

  def __init__(self, folder: AnyPath, steps: tuple[int, int]):
    """Prepares it.

    Args:
      folder: where the trace is written.
      steps: (first, last), counted from 1; (0, 0): none.
    """
    self._folder, (self._first, self._last) = folder, steps
    # The profiler writes to local folders alone.
    self._local: tempfile.TemporaryDirectory | None = None

  def before(self, step: int) -> None:
    """Starts the trace if this step is the first of it that is taken."""
    if self._first <= step <= self._last and self._local is None and is_main():
      self._local = tempfile.TemporaryDirectory()
      jax.profiler.start_trace(self._local.name)

  def after(self, step: int, results: Any) -> None:
    """Ends the trace if this step, which gave `results`, is the last of it."""
    if self._local is not None and step >= self._last:
      jax.block_until_ready(results)
      self.close()

  def close(self) -> None:
    """Ends the trace, if there is one, and writes it."""
    if self._local is None:
      return
    jax.profiler.stop_trace()
    with self._local as name:
      for path in Path(name).rglob("*"):
        if path.is_file():
          target = self._folder / path.relative_to(name)
          files.make_folder(target.parent)
          files.write_bytes(target, path.read_bytes())
    self._local = None
    console.say(f"wrote a trace: tensorboard --logdir={self._folder}")
