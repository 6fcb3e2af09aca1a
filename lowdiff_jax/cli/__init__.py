"""The command line: a file for each mode, with run(config, workdir).

A mode is imported when it is started, so that each needs only its own packages.
"""

import importlib
from collections.abc import Callable
from pathlib import Path

from ml_collections import ConfigDict

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
  "config",
)


def _starter(name: str) -> Callable[[ConfigDict, Path], None]:
  def start(config: ConfigDict, workdir: Path) -> None:
    importlib.import_module(f"lowdiff_jax.cli.{name}").run(config, workdir)

  return start


MODES = {name: _starter(name) for name in NAMES}
