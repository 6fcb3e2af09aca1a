"""Reads damaged and odd inputs, and lists those that are not dealt with.

  python -m launch.fuzz [--seconds=60 | --inputs=1000] [--only=READER]

Each input may be refused (a UserError, of one line), read, or read with a
warning. Any other exception is a failure, and so is more than 20 s or more than
2 GiB of memory. Input N of a reader is a function of --seed, the reader and N:
--only=READER --first=N --inputs=1 repeats it. Exit status 1 on any failure.
"""

import argparse
import collections
import itertools
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from launch.fuzz.pool import Pool
from launch.fuzz.reader import FAILED, READ, REFUSED, SKIPPED, Result


def tasks(
  shares: Mapping[str, float], first: int, inputs: int, seconds: float
) -> Iterator[tuple[str, int]]:
  """(reader, number): of each reader its share, until there are enough.

  Args:
    shares: of the readers.
    first: number of each reader's first input.
    inputs: of each reader whose share is 1.
    seconds: after which there are no more.
  """
  end = time.monotonic() + seconds
  for i in itertools.count() if seconds else range(inputs):
    for name, share in shares.items():
      if seconds and time.monotonic() > end:
        return
      before, after = (-int(-n * share // 1) for n in (i, i + 1))
      if after > before:
        yield name, first + before


def table(results: Sequence[Result]) -> list[str]:
  """A line for each reader, and one for all."""
  groups = collections.defaultdict(list)
  for result in results:
    groups[result.reader].append(result)
  lines = [
    f"{'reader':20} {'inputs':>8} {'refused':>8} {'skipped':>8} {'read':>8} "
    f"{'failed':>7} {'slowest s':>10} {'peak MiB':>9} {'ms each':>8}"
  ]
  for name, group in [*sorted(groups.items()), ("all", [*results])]:
    outcomes = collections.Counter(result.outcome for result in group)
    counts = [outcomes[kind] for kind in (REFUSED, SKIPPED, READ)]
    slowest = max((result.seconds for result in group), default=0)
    peak = max((result.mebibytes for result in group), default=0)
    mean = sum(result.seconds for result in group) / max(1, len(group))
    lines.append(
      f"{name:20} {len(group):8} {counts[0]:8} {counts[1]:8} {counts[2]:8} "
      f"{outcomes[FAILED]:7} {slowest:10.2f} {peak:9.0f} {1000 * mean:8.1f}"
    )
  return lines


def kind(result: Result) -> str:
  """What failures by one fault have in common: where and what was raised."""
  lines = result.detail.strip().splitlines()
  places = [line for line in lines if "lowdiff_jax" in line] or lines[:1]
  return f"{places[-1]} {lines[-1].partition(':')[0]}"


def main() -> int:
  """Prints the failures and the table; the exit status."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--seconds", type=float, default=0.0)
  parser.add_argument("--inputs", type=int, default=100, help="of each reader")
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--first", type=int, default=0)
  parser.add_argument("--only", default="", help="readers, with commas between")
  parser.add_argument("--workers", type=int, default=1)
  parser.add_argument("--limit", type=float, default=20.0, help="s an input")
  parser.add_argument("--keep", type=Path, help="folder for what failed")
  args = parser.parse_args()
  os.environ["JAX_PLATFORMS"] = "cpu"
  from launch.fuzz.readers import readers  # Once it is known where JAX runs.

  known = readers()
  chosen = args.only.split(",") if args.only else list(known)
  if unknown := set(chosen) - known.keys():
    parser.error(f"--only={unknown.pop()}: expected {', '.join(known)}")
  alone = len(chosen) == 1
  shares = {name: 1.0 if alone else known[name].share for name in chosen}
  results, seen = [], set()
  todo = tasks(shares, args.first, args.inputs, args.seconds)
  since = time.monotonic()
  for result in Pool(readers, args.seed, args.limit).run(
    todo, args.workers, args.keep
  ):
    results.append(result._replace(detail=""))
    if result.outcome == FAILED:
      detail = "as above" if kind(result) in seen else result.detail
      seen.add(kind(result))
      print(f"{result.reader} {result.number}: {detail}", flush=True)
  print("\n".join(table(results)))
  spent = time.monotonic() - since
  print(f"seed {args.seed}, {args.workers} workers, {spent:.0f} s")
  return int(any(result.outcome == FAILED for result in results))


if __name__ == "__main__":
  sys.exit(main())
