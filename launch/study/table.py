"""The table and the figure of a study, of the files that it keeps."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lowdiff_jax import files
from lowdiff_jax.metrics.table import distance_of
from lowdiff_jax.schedules import pareto

SPEED = "speed.json"
COLUMNS = ("row", "variant", "images seen", "NFE", "images/s")

Record = Mapping[str, Any]


def write_json(path: Path, record: Any) -> None:
  """Writes a record atomically, and its folder if need be."""
  path.parent.mkdir(parents=True, exist_ok=True)
  files.write_json(path, record)


def row_file(workdir: Path, name: str) -> Path:
  """Where a row's record is."""
  return workdir / "rows" / f"{name}.json"


def read_rows(workdir: Path, names: Iterable[str]) -> dict[str, Record]:
  """The records of those rows that have one."""
  paths = {name: row_file(workdir, name) for name in names}
  return {
    name: json.loads(path.read_text())
    for name, path in paths.items()
    if path.exists()
  }


def read_score(path: Path) -> dict[str, Any]:
  """What a row's record takes from a file of mode evaluate.

  Args:
    path: of the summary of several ranges of seeds, or of the one range.

  Returns:
    Its metrics, the images trained on and the NFE of each stage.
  """
  score = json.loads(path.read_text())
  names = score.get("files", [path.name])
  one = json.loads(path.with_name(names[0]).read_text())
  protocol = one["protocol"]
  return {
    "score": str(path),
    "ranges": len(names),
    "images_scored": protocol["images"],
    "images_seen": protocol["images_trained_on"],
    "nfe": [stage["nfe"] for stage in protocol["sampling"]],
    "mean": score.get("mean", one["generated"]),
    "std": score.get("std", {}),
  }


def read_speed(workdir: Path, records: Mapping[str, Record]) -> Record:
  """What is timed of these rows as they are now: name -> what was measured."""
  path = workdir / SPEED
  if not path.exists():
    return {}
  speed = json.loads(path.read_text())
  return {
    name: speed["rows"][name]
    for name, record in records.items()
    if speed["flags"].get(name) == record["flags"]
  }


def write(workdir: Path, records: Mapping[str, Record], *, title: str) -> str:
  """Writes study.json, study.md and, of what is timed, study.png.

  Args:
    workdir: of the study.
    records: of at least one row, in the order of the table.
    title: of the figure.

  Returns:
    The table.
  """
  speed = read_speed(workdir, records)
  metric = distance_of(next(iter(records.values()))["mean"])
  rows = [
    {
      "row": name,
      "variant": record["variant"],
      "images_seen": record["images_seen"],
      "nfe": record["nfe"],
      "images_per_second": speed.get(name, {}).get("images_per_second"),
      # Absent if this row was scored in other features than the first.
      "distance": record["mean"].get(metric),
      "std": record["std"].get(metric),
    }
    for name, record in records.items()
  ]
  write_json(workdir / "study.json", {"distance": metric, "rows": rows})
  lines = [_line([*COLUMNS, metric]), "| --- | --- |" + " ---: |" * 4]
  table = "\n".join(lines + [_line(_cells(row)) for row in rows])
  (workdir / "study.md").write_text(table + "\n")
  points = [
    pareto.Point(
      row["row"],
      row["variant"],
      row["images_per_second"],
      row["distance"],
      row["std"],
    )
    for row in rows
    if None not in (row["images_per_second"], row["distance"])
  ]
  if points:
    path = workdir / "study.png"
    pareto.draw(points, path, title=title, metric=metric.replace("_", " "))
  return table


def _cells(row: dict[str, Any]) -> list[str]:
  rate, distance, std = (
    row[name] for name in ("images_per_second", "distance", "std")
  )
  spread = "" if std is None else f" ± {std:.2g}"
  return [
    row["row"],
    row["variant"],
    f"{row['images_seen']:,}",
    "+".join(map(str, row["nfe"])),
    "-" if rate is None else f"{rate:.1f}",
    "-" if distance is None else f"{distance:.4g}{spread}",
  ]


def _line(cells: Sequence[str]) -> str:
  return f"| {' | '.join(cells)} |"
