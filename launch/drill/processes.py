"""One of the two processes of a run is killed, or gets SIGTERM."""

import argparse
import math
import random
import signal
import time
from pathlib import Path

from launch.drill import training
from launch.drill.training import PATIENCE, Event, Run
from lowdiff_jax.train import watchdog

# (what happens, the signal, which process gets it).
EVENTS = [
  (f"{name} of process {i}", number, i)
  for name, number in (("kill -9", signal.SIGKILL), ("SIGTERM", signal.SIGTERM))
  for i in range(2)
]
# Seconds from the first new step until something happens, at most.
LONGEST = 3.0
IMAGES = 320


def disturb(
  run: Run, kind: str, number: signal.Signals, index: int, delay: float
) -> Event:
  """Starts both, sends one a signal, and waits for the end of both."""
  before = run.newest()
  both = run.start_and_train()
  time.sleep(delay)
  newest = run.newest()
  both[index].process.send_signal(number)
  seconds = training.end(both, PATIENCE)
  hangs = math.isinf(seconds)
  printed = [program.printed() for program in both]
  errors = [program.errors() for program in both]
  if number == signal.SIGKILL:
    expected, words = [watchdog.STATUS] * 2, f"process {index} of 2 is lost"
    expected[index] = -number
  else:
    expected, words = [128 + number] * 2, "and saved; the same command goes on"
  statuses = [program.process.returncode for program in both]
  other = errors[1 - index] if number == signal.SIGKILL else printed[0]
  wrong = {
    f"did not end within {PATIENCE:g} s": hangs,
    f"statuses {statuses}": not hangs and statuses != expected,
    f"did not go on at step {before}": training.resumed(before)
    not in printed[0],
    "a traceback": any("Traceback" in text for text in errors),
    "a stack": any("stack trace" in text for text in errors),
    f"no word of {words!r}": words not in other,
    f"checkpoint {newest} was lost": run.newest() < newest,
  }
  return training.event(kind, run, seconds, wrong, "\n".join(errors))


def drill(root: Path, args: argparse.Namespace) -> list[str]:
  """Each event args.rounds times; what was not as it should be."""
  rng = random.Random(args.seed)
  fields = training.fields(root, IMAGES)
  undisturbed, run = (
    Run(root / name, fields, processes=2) for name in ("calm", "disturbed")
  )
  faults, events = [undisturbed.finish()], []
  for kind, number, index in EVENTS * args.rounds:
    delay = rng.uniform(0, LONGEST)
    events.append(disturb(run, kind, number, index, delay))
  return [*faults, run.finish(), *training.summary(events, run, undisturbed)]
