"""Plans a training step for more and more chips, and writes their table.

  python -m launch.scaling_table [--rows REGEX]

For each number of chips the step of LightningDiT-B/1 is compiled twice: with as
many images for each chip (weak scaling) and with as many in all (strong
scaling). The rest is as in `launch.plan_table`.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from launch.plan_table import PAGE, Row, planned, read, write_table
from lowdiff_jax.cli.plan import cell
from lowdiff_jax.profiling.slices import SLICES

MARKS = "<!-- scaling: begin -->", "<!-- scaling: end -->"
COLUMNS = (
  "chips",
  "slice",
  "images",
  "for each chip",
  "memory",
  "computing, s",
  "moved",
  "moving, s",
  "images/s",
  "efficiency",
)
# v5p: other generations have no slices of more than 256 chips.
_SLICES = ("v5p-16", "v5p-128", "v5p-512", "v5p-2048")
_FOR_EACH, _IN_ALL = 128, 1024


def _rows() -> Iterator[Row]:
  """The smallest slice, where both are one, then weak and strong scaling."""
  for size in (_FOR_EACH, 0):
    for name in _SLICES:
      images = size * SLICES[name].devices or _IN_ALL
      fields = [
        '--config.plan.programs=("training",)',
        *(f"--config.stages.s{side}.batch_size={images}" for side in (8, 16)),
      ]
      yield Row("configs/imagenet256.py", name, tuple(fields))


ROWS = tuple(dict.fromkeys(_rows()))


def main() -> int:
  """Plans what is missing; the exit status, 1 if a row failed."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--workdir", type=Path, default=Path("runs/plans"))
  parser.add_argument("--rows", default="", help="regex of names; all if none")
  parser.add_argument("--page", type=Path, default=PAGE)
  args = parser.parse_args()
  chosen = [row for row in ROWS if re.search(args.rows, row.name())]
  done = [planned(row, args.workdir) for row in chosen]
  steps = {
    row: record["training"]["as_given"]
    for row in ROWS
    if (record := read(row, args.workdir))
  }
  write_table(
    args.page,
    MARKS,
    COLUMNS,
    {row: _cells(row, step, steps.get(ROWS[0])) for row, step in steps.items()},
  )
  return int(not all(done))


def _cells(
  row: Row, step: dict[str, Any], least: dict[str, Any] | None
) -> list[str]:
  """The cells of a row; efficiency is relative to the smallest slice."""
  chips, images = step["devices"], step["images"]
  slow, fast = _images_per_second(step)
  efficiency = "-"
  if least:
    efficiency = " to ".join(
      f"{here / chips / there * least['devices']:.0%}"
      for here, there in zip(
        (slow, fast), _images_per_second(least), strict=True
      )
    )
  return [
    str(chips),
    row.slice,
    f"{images:,}",
    str(images // chips),
    cell(step, "needed_bytes"),
    cell(step, "expected_seconds"),
    cell(step, "collective_bytes"),
    cell(step, "collective_seconds"),
    f"{slow:,.0f} to {fast:,.0f}",
    efficiency,
  ]


def _images_per_second(step: dict[str, Any]) -> tuple[float, float]:
  """If moving follows computing, and if it is done meanwhile."""
  computing, moving = step["expected_seconds"], step["collective_seconds"]
  return (
    step["images"] / (computing + moving),
    step["images"] / max(computing, moving),
  )


if __name__ == "__main__":
  sys.exit(main())
