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

# The modes, and what each does.
NAMES = {
  "train": "Trains, or goes on with the run; then samples and scores.",
  "sample": "Writes images to WORKDIR/samples.",
  "evaluate": "Scores images: FID and other metrics, to WORKDIR/scores.",
  "benchmark": "Times and scores the cascade against one resolution.",
  "upscale": "Takes small images through the later stages.",
  "measure": "Proposes the noise of each stage from the data.",
  "encode": "Encodes the data as latents.",
  "sweep": "Scores and times all schedules of a grid.",
  "tune": "Searches the fastest schedule that is as good.",
  "report": "Writes a page of curves, images, scores: WORKDIR/report.html.",
  "export": "Writes the model as a folder to publish.",
  "plan": "Says whether a recipe fits a TPU or GPU that is not here.",
  "config": "Prints every field with its value and documentation.",
}
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
