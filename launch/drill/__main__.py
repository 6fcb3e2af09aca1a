"""Disturbs training runs; every bit should survive.

  python -m launch.drill [DRILL...] [--seed=0] ...

moments: a run is killed (kill -9), or its disk is full, at random moments. The
  disk is a tmpfs; --no-mount, or no right to mount, limits file sizes.
processes: one of the two processes of a run is killed or gets SIGTERM.
storage: the newest checkpoint is damaged, on a disk and in a bucket; a bucket
  does not answer for a minute.
buckets: one or both processes of a run in a bucket are killed at random moments
  of encoding, training, sampling and scoring, for each of two pages.

The first three train configs/digits.py:smoke with a checkpoint every other
step. After each event the same command goes on, in the end to the last image.
All of the last checkpoint, parameters, EMA weights and the optimizer's state,
is then compared with that of a run that nothing disturbed; `buckets` compares
losses, latents, samples and scores, too. Exit status 1 if anything is not as
docs/reliability.md says.
"""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

import jax

from launch.drill import buckets, moments, processes, storage

# name -> (folder, arguments) -> what was not as it should be.
DRILLS = {
  "moments": moments.drill,
  "processes": processes.drill,
  "storage": storage.drill,
  "buckets": buckets.drill,
}


def main() -> int:
  """Drills in a temporary folder; the exit status."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument(
    "drills", nargs="*", metavar="DRILL", help=f"{', '.join(DRILLS)}; all"
  )
  parser.add_argument(
    "--kills", type=int, default=10, help="of moments, and of each of the pages"
  )
  parser.add_argument(
    "--pages", nargs="+", default=buckets.PAGES, help="of buckets, in configs/"
  )
  parser.add_argument("--fills", type=int, default=5, help="of moments")
  parser.add_argument("--rounds", type=int, default=1, help="of processes")
  parser.add_argument("--images", type=int, default=2400, help="of moments")
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument(
    "--mount", action=argparse.BooleanOptionalAction, default=True
  )
  args = parser.parse_args()
  if unknown := set(args.drills) - DRILLS.keys():
    parser.error(f"no drill {unknown.pop()!r}: expected {', '.join(DRILLS)}")
  jax.config.update("jax_platforms", "cpu")  # As in the programs it starts.
  # What it has started ends with it.
  signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
  faults: list[str] = []
  for name in args.drills or DRILLS:
    print(f"-- {name}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
      faults += filter(None, DRILLS[name](Path(folder), args))
  for fault in faults:
    print(f"FAULT: {fault}")
  return int(bool(faults))


if __name__ == "__main__":
  sys.exit(main())
