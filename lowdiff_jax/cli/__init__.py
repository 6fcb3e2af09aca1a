"""The command line: a file for each mode, with run(config, workdir).

Each owns what it writes, so that two do not write the same files at once.

A mode is imported when it is started, so that each needs only its own packages.
"""

import contextlib
import importlib
from collections.abc import Callable

from ml_collections import ConfigDict

from lowdiff_jax import locks
from lowdiff_jax.buckets import AnyPath

NAMES = (
  "train",
  "sample",
  "evaluate",
  "benchmark",
  "upscale",
  "measure",
  "encode",
  "sweep",
  "tune",
  "export",
  "plan",
  "config",
)
# These write nothing to the workdir.
ELSEWHERE = ("encode", "config")
# These compile for accelerators, and run on none.
COMPILE_ONLY = ("plan",)


def _starter(name: str) -> Callable[[ConfigDict, AnyPath], None]:
  def start(config: ConfigDict, workdir: AnyPath) -> None:
    mode = importlib.import_module(f"lowdiff_jax.cli.{name}")
    with contextlib.ExitStack() as stack:
      if name not in ELSEWHERE:
        stack.enter_context(locks.owned(workdir, name))
      mode.run(config, workdir)

  return start


MODES = {name: _starter(name) for name in NAMES}
