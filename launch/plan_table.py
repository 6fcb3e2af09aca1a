"""Plans pages for slices, one after the other, and writes their table.

  python -m launch.plan_table [--cuda-python PYTHON] [--rows REGEX]

Runs the command line's mode plan in a process for each row of ROWS. A row whose
plan.json is in --workdir is not run again: the same command goes on where it
was interrupted, and a row is renewed by deleting its folder. The table replaces
what stands between the two marks in docs/accelerators.md.

JAX's build for TPUs and the one for NVIDIA GPUs need not be in one environment:
--cuda-python is the interpreter of the latter, for the rows of GPUs.
"""

import argparse
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lowdiff_jax import files
from lowdiff_jax.cli.plan import cell
from lowdiff_jax.experiment.overrides import as_flags
from lowdiff_jax.profiling.slices import SLICES

PAGE = Path("docs/accelerators.md")
MARKS = "<!-- plans: begin -->", "<!-- plans: end -->"
COLUMNS = (
  "page",
  "slice",
  "batch",
  "fits",
  "memory",
  "step, s",
  "images/s",
  "MFU",
  "moved a step",
  "sampling: memory",
  "s",
  "images/s",
  "compiling, CPU s",
)
# Of the columns from "memory" to "MFU".
_KEYS = (
  "needed_bytes",
  "expected_seconds",
  "expected_images_per_second",
  "expected_mfu",
)


class Row(NamedTuple):
  """A row of the table.

  Attributes:
    page: as --config takes it.
    slice: as --config.plan.slice takes it.
    fields: flags of other fields.
  """

  page: str
  slice: str
  fields: tuple[str, ...] = ()

  def name(self) -> str:
    """Of its folder."""
    words = "_".join([Path(self.page).name, self.slice, *self.fields])
    return re.sub(r"[^\w.=-]+", "-", words.replace("--config.", ""))

  def command(self) -> list[str]:
    """The arguments of the interpreter, without the workdir."""
    return [
      "-m",
      "lowdiff_jax.main",
      f"--config={self.page}",
      "--mode=plan",
      f"--config.plan.slice={self.slice}",
      *self.fields,
    ]


_LATENTS, _CIFAR10 = "configs/imagenet256.py", "configs/cifar10.py:cond"
_SLICES = ("v5e-8", "v5e-16", "v5e-256", "v5p-8", "v6e-8", "h100-8")
ROWS = (
  *(Row(_LATENTS, name) for name in _SLICES),
  *(Row(f"{_LATENTS}:xl", name) for name in _SLICES),
  Row(f"{_LATENTS}:small", "h100-1"),
  *(Row(_CIFAR10, name) for name in ("v5e-8", "h100-1", "h100-8")),
  *(Row("configs/ffhq64.py", name) for name in ("v5e-8", "h100-1", "h100-8")),
)


def main() -> int:
  """Runs what is missing; the exit status, 1 if a row failed."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--workdir", type=Path, default=Path("runs/plans"))
  parser.add_argument("--cuda-python", help="interpreter with jax[cuda13]")
  parser.add_argument("--rows", default="", help="regex of names; all if none")
  parser.add_argument("--page", type=Path, default=PAGE)
  args = parser.parse_args()
  chosen = [row for row in ROWS if re.search(args.rows, row.name())]
  failed = [
    row for row in chosen if not planned(row, args.workdir, args.cuda_python)
  ]
  # Of former calls too, whatever part of the rows this one was asked for.
  records = {row: read(row, args.workdir) for row in ROWS}
  cells = {row: _cells(row, one) for row, one in records.items() if one}
  write_table(args.page, MARKS, COLUMNS, cells)
  for row in failed:
    print(f"failed: {row.name()}, see {args.workdir / row.name()}.log")
  return int(bool(failed))


def planned(row: Row, workdir: Path, cuda_python: str | None = None) -> bool:
  """Whether there is a plan of the row, which is made if there is none."""
  if read(row, workdir):
    return True
  is_gpu = SLICES[row.slice].platform == "cuda"
  python = cuda_python if is_gpu else sys.executable
  if python is None:
    print(f"left out: {row.name()} needs --cuda-python", flush=True)
    return True
  print(row.name(), flush=True)
  folder = workdir / row.name()
  folder.mkdir(parents=True, exist_ok=True)
  with Path(f"{folder}.log").open("w") as log:
    done = subprocess.run(
      [python, *row.command(), f"--workdir={folder}"], stdout=log, stderr=log
    )
  return done.returncode == 0


def read(row: Row, workdir: Path) -> dict[str, Any]:
  """The plan.json of a row; empty if there is none."""
  path = workdir / row.name() / "plan.json"
  return json.loads(path.read_text()) if path.exists() else {}


def write_table(
  page: Path,
  marks: tuple[str, str],
  columns: Sequence[str],
  cells: Mapping[Row, Sequence[str]],
) -> None:
  """Writes a table and the commands of its rows between two marks of a page.

  Args:
    page: a Markdown file.
    marks: lines of it, which stay.
    columns: their names.
    cells: of each row.

  Raises:
    ValueError: the page has no marks.
  """
  table = [columns, ["---"] * len(columns), *cells.values()]
  commands = [shlex.join(["python", *row.command()]) for row in cells]
  lines = [f"| {' | '.join(line)} |" for line in table]
  lines += ["", "```bash", *commands, "```"]
  before, begin, rest = page.read_text().partition(marks[0])
  _, end, after = rest.partition(marks[1])
  if not begin or not end:
    raise ValueError(f"{page} lacks the marks {marks[0]} and {marks[1]}")
  text = "\n".join(lines)
  files.write_text(page, f"{before}{begin}\n\n{text}\n\n{end}{after}")


def _cells(row: Row, record: dict[str, Any]) -> list[str]:
  """The cells of a row: training, then sampling, with what makes them fit."""
  training, sampling = record["training"], record["sampling"]
  step = training.get("with_overrides") or training["as_given"]
  batch = sampling.get("with_overrides") or sampling["as_given"]
  fields = [word.removeprefix("--config.") for word in row.fields]
  for part in (training, sampling):
    fields += as_flags(part.get("overrides") or {})
  page = [row.page.removeprefix("configs/"), *dict.fromkeys(fields)]
  seconds = sum(part["compile_cpu_seconds"] for part in (step, batch))
  return [
    " ".join(word.replace("--config.", "") for word in page),
    row.slice,
    cell(step, "images"),
    "yes" if step["fits"] and batch["fits"] else "no",
    *(cell(step, key) for key in _KEYS),
    cell(step, "collective_bytes"),
    *(cell(batch, key) for key in _KEYS[:-1]),
    f"{seconds:.0f}",
  ]


if __name__ == "__main__":
  sys.exit(main())
