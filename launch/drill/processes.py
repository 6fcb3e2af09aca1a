"""One of the two processes of a run is killed, or gets SIGTERM."""

import argparse
import concurrent.futures
import random
import signal
import time
from pathlib import Path

from launch.drill import training
from launch.drill.training import PATIENCE, Event, Run

# (what happens, the signal, which process gets it).
EVENTS = [
  (f"{name} of process {i}", number, i)
  for name, number in (("kill -9", signal.SIGKILL), ("SIGTERM", signal.SIGTERM))
  for i in range(2)
]
LONGEST = 3.0


def disturb(
  run: Run, kind: str, number: signal.Signals, index: int, delay: float
) -> Event:
  """Starts both, sends one a signal, and waits for the end of both."""
  before = run.newest()
  both = run.start_and_train()
  time.sleep(delay)
  newest, since = run.newest(), time.monotonic()
  both[index].process.send_signal(number)
  outputs = [program.output for program in both]
  hang = concurrent.futures.wait(outputs, PATIENCE).not_done
  seconds = time.monotonic() - since
  for program in both:
    program.process.kill()
  printed, errors = zip(*(output.result() for output in outputs), strict=True)
  if number == signal.SIGKILL:
    expected, words = [2, 2], f"process {index} of 2 is lost"
    expected[index] = -number
  else:
    expected, words = [128 + number] * 2, "and saved; the same command goes on"
  statuses = [program.process.returncode for program in both]
  other = errors[1 - index] if number == signal.SIGKILL else printed[0]
  wrong = {
    f"did not end within {PATIENCE:g} s": bool(hang),
    f"statuses {statuses}": not hang and statuses != expected,
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
  fields = training.fields(root, args.images)
  undisturbed, run = (
    Run(root / name, fields, processes=2) for name in ("calm", "disturbed")
  )
  faults, events = [undisturbed.finish()], []
  for kind, number, index in EVENTS * args.rounds:
    delay = rng.uniform(0, LONGEST)
    events.append(disturb(run, kind, number, index, delay))
  return [*faults, run.finish(), *training.summary(events, run, undisturbed)]
