"""What the folder of a run holds, as a report needs it."""

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.experiment import identity
from lowdiff_jax.reading import read_json, reading
from lowdiff_jax.report.style import COLOURS
from lowdiff_jax.train.writer import METRICS
from lowdiff_jax.types import UserError

Record = dict[str, Any]
_STAGE = re.compile(r"\d+x\d+")


class Run(NamedTuple):
  """A run.

  Attributes:
    name: of its folder; the whole path if two runs have one name.
    folder: its workdir.
    colour: of its curves, in CSS.
    config: that it was trained with.
    log: what training has logged, a record for each time.
    scores: of mode evaluate, by the file's name; the newest last.
    benchmark, sweep, tune: of these modes; None if they did not run.
  """

  name: str
  folder: AnyPath
  colour: str
  config: ConfigDict
  log: list[Record]
  scores: dict[str, Record]
  benchmark: Record | None
  sweep: Record | None
  tune: Record | None

  def curve(self, name: str) -> list[tuple[float, float]]:
    """(images seen, value) of what was logged by this name."""
    seen, found = 0.0, []
    for record in self.log:
      seen = record.get("images", seen)
      if isinstance(record.get(name), int | float):
        found.append((seen, float(record[name])))
    return found

  def names(self, prefix: str) -> list[str]:
    """All names that were logged with this prefix, in order."""
    every = dict.fromkeys(name for record in self.log for name in record)
    return [name for name in every if name.startswith(prefix)]

  def stages(self) -> list[str]:
    """Names of the stages that were trained: "8x8"."""
    names = (name.removeprefix("loss/") for name in self.names("loss/"))
    found = [name for name in names if _STAGE.fullmatch(name)]
    return sorted(found, key=lambda name: int(name.partition("x")[0]))


def read(folders: Sequence[AnyPath]) -> list[Run]:
  """The runs in these folders.

  Raises:
    UserError: a folder holds no run, or a file is damaged.
  """
  same = len({folder.name for folder in folders}) < len(folders)
  return [
    _read(folder, str(folder) if same else folder.name, k)
    for k, folder in enumerate(folders)
  ]


def _read(folder: AnyPath, name: str, k: int) -> Run:
  config = identity.read_file(folder / "config.json")
  path = folder / METRICS
  if config is None or not path.exists():
    raise UserError(
      f"{folder} holds no run: expected config.json and {METRICS}; train first"
    )
  with reading(path):
    log = list(filter(None, map(_record, path.read_text().splitlines())))
  files = sorted(folder.glob("scores/*.json"))
  scores = {file.name: read_json(file) for file in files}
  return Run(
    name,
    folder,
    f"var(--c{k % COLOURS})",
    config,
    log,
    # Summaries of several have no such entry.
    {name: score for name, score in scores.items() if "generated" in score},
    *(_optional(folder / f"{m}.json") for m in ("benchmark", "sweep", "tune")),
  )


def _record(line: str) -> Record | None:
  """A line of the log; None if its write was cut short."""
  try:
    return json.loads(line)
  except json.JSONDecodeError:
    return None


def _optional(path: AnyPath) -> Record | None:
  return read_json(path) if path.is_file() else None
