"""A run of one process is killed, or its disk is full, at random moments."""

import argparse
import random
import time
from pathlib import Path

from launch.drill import training
from launch.drill.disk import SmallDisk
from launch.drill.training import PATIENCE, Event, Run

KILL, FILL = "kill -9", "full disk"
# Seconds from the first new step until something happens, at most.
LONGEST = 3.0


def disturb(run: Run, disk: SmallDisk, kind: str, delay: float) -> Event:
  """Starts a run, lets something happen to it, and waits for its end."""
  before = run.newest()
  (program,) = run.start_and_train()
  process = program.process
  time.sleep(delay)
  newest, since = run.newest(), time.monotonic()
  if kind == KILL:
    process.kill()
  while process.poll() is None and time.monotonic() - since < PATIENCE:
    if kind == FILL:
      disk.fill(process.pid)
    time.sleep(0.02)
  seconds, hangs = time.monotonic() - since, process.poll() is None
  process.kill()
  process.wait()
  printed, errors = program.printed(), program.errors()
  disk.free()
  lines = training.told(errors)
  wrong = {
    f"did not end within {PATIENCE:g} s": hangs,
    f"status {process.returncode}": not hangs
    and process.returncode != (-9 if kind == KILL else 2),
    f"did not go on at step {before}": training.resumed(before) not in printed,
    "a traceback": "Traceback" in errors,
    f"{len(lines)} lines of errors": len(lines) != (kind == FILL),
    f"checkpoint {newest} was lost": run.newest() < newest,
  }
  return training.event(kind, run, seconds, wrong, errors)


def drill(root: Path, args: argparse.Namespace) -> list[str]:
  """Does it args.kills and args.fills times; what was not as it should be."""
  rng = random.Random(args.seed)
  kinds = [KILL] * args.kills + [FILL] * args.fills
  rng.shuffle(kinds)
  fields = training.fields(root, args.images)
  undisturbed = Run(root / "undisturbed", fields)
  faults = [undisturbed.finish()]
  with SmallDisk(root / "disk", 64, mount=args.mount) as disk:
    run = Run(disk.folder / "run", fields)
    print("tmpfs" if disk.mounted else "limit of file sizes", flush=True)
    events = [
      disturb(run, disk, kind, rng.uniform(0, LONGEST)) for kind in kinds
    ]
    faults += [run.finish(), *training.summary(events, run, undisturbed)]
  return faults
