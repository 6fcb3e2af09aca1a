"""A study: trains a page's variants alike, scores its rows, times them all.

  python -m launch.study --minutes=240 [-- --config.data.dir=/data ...]

What follows `--` is passed to every `python -m lowdiff_jax.main`. A page of a
study (configs/study_cifar10.py) has VARIANTS, its arguments; --rows-file has
ROWS: name -> (variant, fields to sample it with). The variants train in turns,
so that they have seen about equally many images whenever the time is up; then
each row is scored, and all are timed side by side. The same command goes on
where it was, and only writes the table once everything is done.

In --workdir: a run for each variant, logs/, rows/ and speed.json, and what it
is for: study.md, study.json and study.png. Exit status 1 if a job failed.
"""

import argparse
import math
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from launch.study import page as study_page
from launch.study import table as study_table
from launch.study.jobs import Jobs
from launch.study.page import Study
from lowdiff_jax.experiment.training import batch_size
from lowdiff_jax.types import UserError

# Of the time for scores: what is kept for timing.
TIMING = 0.25


def main() -> int:
  """Does what time allows; the exit status."""
  args = _arguments()
  study = study_page.open_study(
    args.config,
    args.rows_file,
    args.arguments,
    variants=args.variants,
    rows=args.rows,
    passed=args.passed,
  )
  signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
  jobs = Jobs(args.workdir / "logs", args.minutes)
  scoring = 60 * args.minutes * args.scoring
  train_variants(args, study, jobs, scoring)
  _score(args, study, jobs, scoring * TIMING)
  # Of former studies too, whatever part of the rows this one was asked for.
  records = _records(args, study.page_rows)
  if not records:
    print(f"nothing is scored yet in {args.workdir}; the same command goes on")
  else:
    _time(args, records, jobs)
    title = f"{args.config.stem}: quality against speed"
    print(study_table.write(args.workdir, records, title=title))
  return int(bool(jobs.failed))


def _arguments() -> argparse.Namespace:
  own, passed = sys.argv[1:], []
  if "--" in own:
    split = own.index("--")
    own, passed = own[:split], own[split + 1 :]
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )

  def names(text: str) -> list[str]:
    return list(filter(None, text.split(",")))

  parser.add_argument("--minutes", type=float, required=True)
  parser.add_argument(
    "--scoring", type=float, default=0.4, help="the part kept for scores"
  )
  parser.add_argument(
    "--config", type=Path, default=Path("configs/study_cifar10.py")
  )
  parser.add_argument(
    "--rows-file", type=Path, default=Path("launch/study/cifar10.py")
  )
  parser.add_argument("--workdir", type=Path, default=Path("runs/study"))
  parser.add_argument("--arguments", type=names, default=[], help="of the page")
  parser.add_argument("--variants", type=names, help="a,b; all by default")
  parser.add_argument("--rows", type=names, help="a,b; all by default")
  parser.add_argument("--images", type=int, help="to train each variant on")
  parser.add_argument("--turns", type=int, default=4)
  args = parser.parse_args(own)
  if not 0 <= args.scoring <= 1:
    raise UserError(f"--scoring={args.scoring}: expected 0 to 1")
  for name in ("images", "turns"):
    value = getattr(args, name)
    if value is not None and value < 1:
      raise UserError(f"--{name}={value}: expected at least 1")
  args.passed, args.workdir = passed, args.workdir.absolute()
  return args


def _step(workdir: Path, variant: str) -> int:
  """Of the newest checkpoint; 0 if there is none."""
  folder = workdir / variant / "checkpoints"
  # Only a complete one is called by its number.
  steps = (path.name for path in folder.glob("*") if path.name.isdigit())
  return max(map(int, steps), default=0)


def train_variants(
  args: argparse.Namespace, study: Study, jobs: Jobs, spare: float
) -> None:
  """Turn by turn, each variant up to as many images as the others."""
  failed = set()
  for turn in range(1, args.turns + 1):
    for name, variant in study.variants.items():
      config = variant.config
      images = args.images or config.train.images
      images = math.ceil(images * turn / args.turns)
      steps = math.ceil(images / batch_size(config))
      if name in failed or _step(args.workdir, name) >= steps:
        continue
      command = _command(
        args,
        name,
        *variant.flags,
        "--mode=train",
        f"--config.train.images={images}",
        "--config.evaluation.images=0",
        "--config.evaluation.images_during_training=0",
      )
      done = jobs.run(f"train {name}", command, spare, f"to {images:,} images")
      if done is None:
        return
      if not done.well:
        failed.add(name)


def _command(args: argparse.Namespace, variant: str, *flags: str) -> list[str]:
  return [
    "-m",
    "lowdiff_jax.main",
    f"--workdir={args.workdir / variant}",
    *flags,
  ]


def _score(
  args: argparse.Namespace, study: Study, jobs: Jobs, spare: float
) -> None:
  """Each row that is sampled otherwise since, or whose run has gone on."""
  records = _records(args, study.rows)
  for row in study.rows:
    step = _step(args.workdir, row.variant)
    if step == records.get(row.name, {"step": 0})["step"]:
      continue
    command = _command(args, row.variant, *row.flags, "--mode=evaluate")
    done = jobs.run(f"score {row.name}", command, spare, f"step {step}")
    if done is None:
      return
    if not done.well:
      continue
    # The last file that it names is that of all its ranges of seeds.
    *_, score = re.findall(
      r", (?:scored )?in (/.*\.json)$", done.log.read_text(), re.MULTILINE
    )
    study_table.write_json(
      study_table.row_file(args.workdir, row.name),
      {
        "variant": row.variant,
        "flags": row.flags,
        "step": step,
        **study_table.read_score(Path(score)),
      },
    )


def _records(
  args: argparse.Namespace, rows: Sequence[study_page.Row]
) -> dict[str, study_table.Record]:
  """The scores of rows as they are sampled now, if there are any."""
  flags = {row.name: row.flags for row in rows}
  records = study_table.read_rows(args.workdir, flags)
  return {
    name: record
    for name, record in records.items()
    if record["flags"] == flags[name]
  }


def _time(
  args: argparse.Namespace, records: dict[str, study_table.Record], jobs: Jobs
) -> None:
  """All rows anew if there is one that is not timed yet."""
  timed = study_table.read_speed(args.workdir, records)
  if timed.keys() != records.keys():
    command = ["-m", "launch.study.speed", str(args.workdir), *records]
    jobs.run("time", command, 0, f"{len(records)} rows")


def run() -> int:
  """Runs `main`; a mistake of the user's is one line and exit status 2."""
  try:
    return main()
  except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
  sys.exit(run())
