"""Tables of metrics: of one set of images, several sets, or several runs.

  python -m lowdiff_jax.metrics.table RUN_OR_FILE ...

prints a row for each file in RUN/scores, and each reason why rows are not
comparable.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lowdiff_jax import files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.types import UserError

# Metrics of which higher is better; of all others lower is better.
_HIGHER = ("inception_score", "precision", "recall", "label_agreement")
# Rows are comparable only if these entries of their protocols are equal.
_MUST_AGREE = ("images", "network_sha256", "features", "reference", "rounding")

Record = Mapping[str, Any]


def distance_of(metrics: Mapping[str, float]) -> str:
  """The name of the Frechet distance among metrics."""
  names = ("fid", "frechet_distance")
  return next(name for name in metrics if name.startswith(names))


def of_one(record: Record) -> str:
  """The metrics of generated images beside those of held-out real images."""
  held_out = record["held_out"]
  lines = [f"{'':24}{'generated':>12}" + (f"{'held out':>12}" * bool(held_out))]
  for name, value in record["generated"].items():
    other = f"{held_out[name]:12.4g}" if name in held_out else ""
    lines.append(f"{name:24}{value:12.4g}{other}")
  return "\n".join(lines)


def summary(records: Mapping[AnyPath, Record]) -> dict[str, Any]:
  """Mean, standard deviation and best of sets that differ only in seeds."""
  names = next(iter(records.values()))["generated"]
  columns = {
    name: np.array([record["generated"][name] for record in records.values()])
    for name in names
  }
  return {
    "ranges": [record["protocol"]["indices"] for record in records.values()],
    "files": [path.name for path in records],
    "mean": {name: float(x.mean()) for name, x in columns.items()},
    "std": {name: float(x.std(ddof=1)) for name, x in columns.items()},
    f"best_of_{len(records)}": {
      name: float(x.max() if name.startswith(_HIGHER) else x.min())
      for name, x in columns.items()
    },
  }


def of_summary(record: Record) -> str:
  """The result of `summary` as a table."""
  best = next(name for name in record if name.startswith("best_of_"))
  columns = ("mean", "std", best)
  lines = [f"{'':24}" + "".join(f"{column:>12}" for column in columns)]
  for name in record["mean"]:
    values = (f"{record[column][name]:12.4g}" for column in columns)
    lines.append(f"{name:24}" + "".join(values))
  return "\n".join(lines)


def of_several(records: Mapping[str, Record]) -> str:
  """A row for each record, and a line for each reason not to compare them."""
  names = list(
    dict.fromkeys(n for r in records.values() for n in r["generated"])
  )
  width = max(map(len, records))
  head = ("images", "NFE", *names)
  lines = [f"{'':{width}}" + "".join(f"{n:>{_wide(n)}}" for n in head)]
  for label, record in records.items():
    protocol = record["protocol"]
    evaluations = [str(s["nfe"]) for s in protocol.get("sampling", [])]
    cells = [str(protocol["images"]), "+".join(evaluations) or "-"]
    for name in names:
      value = record["generated"].get(name)
      cells.append("-" if value is None else f"{value:.4g}")
    row = (f"{c:>{_wide(n)}}" for n, c in zip(head, cells, strict=True))
    lines.append(f"{label:{width}}" + "".join(row))
  return "\n".join([*lines, *differences(records)])


def differences(records: Mapping[str, Record]) -> list[str]:
  """A line for each reason not to compare the metrics of several records."""
  lines = []
  for name in _MUST_AGREE:
    values = {_brief(r["protocol"].get(name)) for r in records.values()}
    if len(values) > 1:
      lines.append(f"not comparable: {name} is {' or '.join(sorted(values))}")
  return lines


def _wide(name: str) -> int:
  """The width of a column."""
  return max(len(name), 8) + 2


def _brief(value: Any) -> str:
  """A value of a protocol, abbreviated; a reference as its SHA-256."""
  if isinstance(value, dict):
    value = value.get("sha256", json.dumps(value, sort_keys=True))
  text = str(value)
  return text if len(text) <= 40 else f"{text[:12]}..."


def read(paths: Sequence[str]) -> dict[str, Record]:
  """Reads the records of files, or of all files of runs, by path.

  Raises:
    UserError: a file cannot be read, or no record was found.
  """
  records = {}
  for path in map(files.expanded, paths):
    is_run = files.is_folder(path)
    found = sorted(path.glob("scores/*.json")) if is_run else [path]
    for file in found:
      try:
        record = json.loads(file.read_text())
      except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read: {error}") from error
      if "generated" in record:  # Summaries have no such entry.
        records[str(file)] = record
  if not records:
    raise UserError(f"no score in {', '.join(paths) or 'nothing'}")
  return records


if __name__ == "__main__":
  try:
    print(of_several(read(sys.argv[1:])))
  except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)
