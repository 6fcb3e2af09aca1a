"""A run of two processes in a bucket is killed at random moments."""

import argparse
import itertools
import math
import os
import random
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from etils import epath

from launch.drill import bucket, training
from launch.drill.results import results
from launch.drill.training import Program, Run
from lowdiff_jax.train import watchdog

PAGES = ("digits.py:smoke", "imagenet256.py:smoke")
# In their order.
PHASES = ("start", "encode", "compile", "train", "sample", "score")
# Seconds without a sign of life until the other process gives up, and until
# the drill does.
HEARTBEAT, PATIENCE = 10, 180.0
# 20 steps.
LAST, BATCH = 20, 8
FIELDS = {
  "train.images": LAST * BATCH,
  "train.log_images": 2 * BATCH,
  "train.checkpoint_images": 2 * BATCH,
  "train.evaluate_images": LAST * BATCH,
  "evaluation.images_during_training": 0,
}


class Kill(NamedTuple):
  """What was done to a run, and what came of it.

  Attributes:
    phase: in which it fell.
    seconds: until the other process had ended; 0 if both were killed.
    fault: what was not as it should be; empty if nothing.
  """

  phase: str
  seconds: float
  fault: str


class Watched(NamedTuple):
  """A start of a run that is looked at while it goes on.

  Attributes:
    run: that was started.
    programs: its processes.
    before: what `Run.logged` said before the start.
    newest: the step of the newest checkpoint before the start.
  """

  run: Run
  programs: list[Program]
  before: float
  newest: int

  def phase(self) -> str:
    """In which phase it is now."""
    printed = self.programs[0].printed()
    if "with grid.png" in printed:
      return "score"
    if "goodput of" in printed or training.resumed(LAST) in printed:
      return "sample"
    if "a new run of" in printed or "resuming at" in printed:
      log, step = self.run.logged()
      trains = log != self.before and step > self.newest
      return "train" if trains else "compile"
    return "encode" if "shards to encode" in printed else "start"

  def wait(self, phase: str, delay: float, times: dict[str, float]) -> None:
    """Waits for a moment of a phase, or for the end of the run.

    Args:
      phase: of the moment, or a later one if this start has none.
      delay: seconds from its beginning.
      times: gets the seconds of the phases that end meanwhile.
    """
    now, since, reached = "start", time.monotonic(), math.inf
    while self.programs[0].process.poll() is None:
      here, second = self.phase(), time.monotonic()
      if here != now:
        times[now] = second - since
        now, since = here, second
      if PHASES.index(here) >= PHASES.index(phase):
        reached = min(reached, second)
      if second - reached >= delay:
        return
      time.sleep(0.05)
    times[now] = time.monotonic() - since


def watched(run: Run) -> Watched:
  """Starts a run, or goes on with it."""
  before, newest = run.logged()[0], run.newest()
  return Watched(run, run.start(), before, newest)


def timed(run: Run) -> dict[str, float]:
  """Runs it undisturbed; the seconds of each phase."""
  now, times = watched(run), dict[str, float]()
  now.wait("start", math.inf, times)
  training.end(now.programs)
  for program in now.programs:
    if program.process.returncode:
      raise RuntimeError(f"the undisturbed run: {program.errors()[-2000:]}")
  return times


def kill(
  run: Run, phase: str, times: dict[str, float], rng: random.Random
) -> Kill | None:
  """Kills one or both processes at a random moment of a phase.

  It falls in a later phase if that came sooner than in the start before.

  Args:
    run: that is started for it.
    phase: in which the moment should be.
    times: seconds of each phase, of the last start that had it.
    rng: chooses the moment and the processes.

  Returns:
    What came of it; None if the run had done its work before.
  """
  chosen, delay = rng.choice([[0], [1], [0, 1]]), rng.uniform(0, times[phase])
  if phase == "start":
    # One that is alone waits 300 s for the other to come.
    chosen = [0, 1]
  now = watched(run)
  now.wait(phase, delay, times)
  newest, here = run.newest(), now.phase()
  if all(program.process.poll() is not None for program in now.programs):
    return None
  for i in chosen:
    now.programs[i].process.kill()
  seconds = training.end(now.programs, PATIENCE)
  others = [now.programs[i] for i in {0, 1} - {*chosen}]
  ended = "scored in" in now.programs[0].printed()
  if ended and any(other.process.poll() == 0 for other in others):
    return None
  wrong = {
    "did not end": math.isinf(seconds),
    f"did not go on at step {now.newest}": here not in ("start", "encode")
    and training.resumed(now.newest) not in now.programs[0].printed(),
    f"checkpoint {newest} was lost": run.newest() < newest,
  }
  for other in others:
    errors, status = other.errors(), other.process.poll()
    lines = training.told(errors)
    lost = f"error: process {chosen[0]} of 2 is lost"
    wrong |= {
      f"status {status}": status != watchdog.STATUS,
      f"said {lines}": [line[: len(lost)] for line in lines] != [lost],
      "a traceback": "Traceback" in errors or "stack trace" in errors,
    }
  fault = ", ".join(name for name, is_so in wrong.items() if is_so)
  who = "both" if len(chosen) == 2 else f"process {chosen[0]}"
  print(
    f"{run.page}: kill -9 of {who} in {here}, the newest checkpoint is of step "
    f"{run.newest()}, ended after {seconds:.1f} s {fault}",
    flush=True,
  )
  return Kill(here, seconds, fault)


def _phases(
  seconds: dict[str, float], kills: int, rng: random.Random
) -> list[str]:
  """In which each kill should fall: each in turn, but the start at any time."""
  chosen = list(itertools.islice(itertools.cycle(seconds), kills))
  return sorted(
    chosen,
    key=lambda phase: (
      rng.uniform(0, len(PHASES)) if phase == "start" else PHASES.index(phase)
    ),
  )


def _listed(values: Mapping[str, float]) -> str:
  """In the order of the phases, as in "train 3, sample 2"."""
  return ", ".join(f"{p} {values[p]:.0f}" for p in PHASES if p in values)


def one_page(page: str, root: Path, args: argparse.Namespace) -> list[str]:
  """Kills the run of a page args.kills times; what was not as it should be."""
  rng = random.Random(args.seed)
  calm, run = (
    Run(
      epath.Path(folder) / "run",
      {**FIELDS, "data.dir": f"{folder}/data"},
      page,
      processes=2,
      devices=2,
      heartbeat=HEARTBEAT,
    )
    for folder in (root / page, f"{bucket.ROOT}/{page}")
  )
  seconds = timed(calm)
  print(f"{page}, undisturbed: {_listed(seconds)} s", flush=True)
  phases = _phases(seconds, args.kills, rng)
  kills: list[Kill] = []
  while len(kills) < len(phases):
    phase = phases[len(kills)]
    done = kill(run, phase, seconds, rng)
    kills += [done] if done else []
  faults = [f"{page}: {kill.fault}" for kill in kills if kill.fault]
  faults.append(run.finish())
  expected, made = results(calm), results(run)
  other = [name for name, value in expected.items() if made[name] != value]
  print(
    f"{page:24}{len(kills):6}  {_listed(Counter(k.phase for k in kills))}  "
    f"{max(k.seconds for k in kills):.1f} s  "
    f"{'OTHER ' + ', '.join(other) if other else 'the same bits'}",
    flush=True,
  )
  return [*faults, *(f"{page}: other {name}" for name in other)]


def drill(root: Path, args: argparse.Namespace) -> list[str]:
  """Kills the run of each page; what was not as it should be."""
  with bucket.served() as emulator:
    # Of the programs, and of this one, which compares.
    os.environ.update(emulator.environment)
    os.environ["XDG_CACHE_HOME"] = str(root / "copies")
    return [
      fault for page in args.pages for fault in one_page(page, root, args)
    ]
