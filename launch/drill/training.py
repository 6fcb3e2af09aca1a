"""The training run that drills disturb, and what came of it."""

import re
import socket
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from lowdiff_jax.data.splits import Data
from lowdiff_jax.experiment.overrides import override, read_page
from lowdiff_jax.experiment.parts import build_experiment
from lowdiff_jax.experiment.sources import open_data
from lowdiff_jax.train.checkpoint import Checkpoints

REPOSITORY = Path(__file__).parent.parent.parent
PAGE = f"{REPOSITORY}/configs/digits.py:smoke"
# A program that has not ended this long after it was disturbed, hangs.
PATIENCE = 60.0


class Event(NamedTuple):
  """What was done to a run, and what came of it.

  Attributes:
    kind: of the event, as in "kill -9".
    step: of the newest checkpoint afterwards.
    seconds: until all of its programs had ended.
    fault: what was not as it should be; empty if nothing.
  """

  kind: str
  step: int
  seconds: float
  fault: str


class Program(NamedTuple):
  """A program under way, and its output, which is read all the time."""

  process: subprocess.Popen
  output: Future[tuple[str, str]]


class Run(NamedTuple):
  """A training run: the same command each time it is started.

  Attributes:
    workdir: of the run.
    fields: of the config.
    processes: how many.
  """

  workdir: Path
  fields: dict[str, Any]
  processes: int = 1

  def start(self) -> list[Program]:
    """Starts its processes, or goes on with it."""
    fields = [f"--config.{name}={value}" for name, value in self.fields.items()]
    program = [sys.executable, "-m", "lowdiff_jax.main", f"--config={PAGE}"]
    program += [f"--workdir={self.workdir}", *fields]
    with socket.create_server(("127.0.0.1", 0)) as free:
      address = f"127.0.0.1:{free.getsockname()[1]}"
    joined = f"--coordinator={address}", f"--num_processes={self.processes}"
    started = []
    for i in range(self.processes):
      process = subprocess.Popen(
        [*program, *joined, f"--process_id={i}"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
      )
      # A pipe that nobody reads would be full in the end.
      output = ThreadPoolExecutor(1).submit(process.communicate)
      started.append(Program(process, output))
    return started

  def newest(self) -> int:
    """The step of the newest checkpoint; 0 if there is none."""
    folders = (self.workdir / "checkpoints").glob("*")
    steps = (int(path.name) for path in folders if path.name.isdigit())
    return max(steps, default=0)

  def logged(self) -> tuple[int, int]:
    """The inode of metrics.jsonl, new with each start, and its last step."""
    path = self.workdir / "metrics.jsonl"
    if not path.exists():
      return 0, 0
    steps = re.findall(r'"step": (\d+)', path.read_text())
    return path.stat().st_ino, int(steps[-1]) if steps else 0

  def start_and_train(self) -> list[Program]:
    """Starts it, and waits until it trains or has ended.

    The first checkpoint of this start is written from then on.
    """
    (log, _), before = self.logged(), self.newest()
    programs = self.start()
    while all(program.process.poll() is None for program in programs):
      now, step = self.logged()
      if now != log and step > before:
        break
      time.sleep(0.01)
    return programs

  def finish(self) -> str:
    """Trains to the end; what went wrong, or nothing."""
    before, programs = self.newest(), self.start()
    for program in programs:
      printed, errors = program.output.result()
      if status := program.process.returncode:
        return f"the last start: status {status}: {errors[-2000:]}"
      if before and printed and resumed(before) not in printed:
        return f"the last start did not go on at step {before}"
    return ""

  def last_state(self) -> Any:
    """All arrays of the last checkpoint."""
    config = override(read_page(PAGE), self.fields)
    data: Data = open_data(config)
    experiment = build_experiment(config, data.train.spec, data.latents)
    checkpoints = Checkpoints(self.workdir / "checkpoints", create=False)
    state = checkpoints.restore(experiment.state_shapes)
    checkpoints.close()
    return jax.device_get(state)


def fields(root: Path, images: int) -> dict[str, Any]:
  """Of a run with a checkpoint every other step, and no samples or scores."""
  return {
    "data.dir": str(root / "data"),
    "train.images": images,
    "train.log_images": 16,
    "train.checkpoint_images": 16,
    "train.evaluate_images": images,
    "evaluation.images": 0,
    "evaluation.images_during_training": 0,
  }


def resumed(step: int) -> str:
  """What a start says that goes on at this step, or begins."""
  return f"resuming at step {step}\n" if step else "a new run of"


def told(errors: str) -> list[str]:
  """The lines of errors."""
  return [line for line in errors.splitlines() if line.startswith("error: ")]


def event(
  kind: str, run: Run, seconds: float, wrong: dict[str, bool], errors: str
) -> Event:
  """The event, printed.

  Args:
    kind: of the event.
    run: that was disturbed.
    seconds: until its end.
    wrong: what might be wrong, and whether it is.
    errors: what the programs said, which is shown if something is wrong.
  """
  fault = ", ".join(name for name, is_so in wrong.items() if is_so)
  if fault:
    print(errors[-2000:], file=sys.stderr)
  found = Event(kind, run.newest(), seconds, fault)
  print(
    f"{kind}: the newest checkpoint is of step {found.step}, ended after "
    f"{seconds:.1f} s {fault}",
    flush=True,
  )
  return found


def summary(events: list[Event], run: Run, undisturbed: Run) -> list[str]:
  """Prints a row for each kind of event; what was not as it should be."""
  print(f"{'event':24}{'times':>6}{'went on':>9}{'longest time to exit':>22}")
  for kind in dict.fromkeys(event.kind for event in events):
    own = [event for event in events if event.kind == kind]
    fine = sum(not event.fault for event in own)
    longest = max(event.seconds for event in own)
    print(f"{kind:24}{len(own):6}{fine:9}{longest:20.1f} s")
  pairs = zip(
    jax.tree.leaves(run.last_state()),
    jax.tree.leaves(undisturbed.last_state()),
    strict=True,
  )
  equal = all(
    np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs
  )
  print(f"all of the last state: {'the same bits' if equal else 'OTHER BITS'}")
  faults = [event.fault for event in events if event.fault]
  return faults if equal else [*faults, "other bits"]
