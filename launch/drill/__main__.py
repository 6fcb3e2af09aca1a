"""Kills a training run and fills up its disk; every bit should survive.

  python -m launch.drill [--kills=20] [--fills=5] [--images=2400] [--seed=0]

Trains configs/digits.py:smoke with a checkpoint every other step. At random
moments it is killed (kill -9), or its disk is full; each time the same command
goes on, in the end to the last image. All of the last checkpoint, parameters,
EMA weights and the optimizer's state, is then compared with that of a run that
nothing disturbed. Exit status 1 if anything is not as docs/reliability.md says.
The disk is a tmpfs; --no-mount, or no right to mount, limits file sizes.
"""

import argparse
import random
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from launch.drill.disk import SmallDisk
from lowdiff_jax.data.splits import Data
from lowdiff_jax.experiment.overrides import override, read_page
from lowdiff_jax.experiment.parts import build_experiment
from lowdiff_jax.experiment.sources import open_data
from lowdiff_jax.train.checkpoint import Checkpoints

REPOSITORY = Path(__file__).parent.parent.parent
PAGE = f"{REPOSITORY}/configs/digits.py:smoke"
KILL, FILL = "kill -9", "full disk"
# Seconds from the first new step until something happens, at most.
LONGEST = 3.0
# A program that has not ended this long after its disk was full, hangs.
PATIENCE = 60.0


class Event(NamedTuple):
  """What was done to a run, and what came of it.

  Attributes:
    kind: KILL or FILL.
    step: of the newest checkpoint afterwards.
    seconds: until the program had ended.
    fault: what was not as it should be; empty if nothing.
  """

  kind: str
  step: int
  seconds: float
  fault: str


class Run(NamedTuple):
  """A training run: the same command each time it is started."""

  workdir: Path
  fields: dict[str, Any]

  def start(self) -> subprocess.Popen:
    """Starts it, or goes on with it."""
    flags = [f"--config.{name}={value}" for name, value in self.fields.items()]
    program = [sys.executable, "-m", "lowdiff_jax.main", f"--config={PAGE}"]
    return subprocess.Popen(
      [*program, f"--workdir={self.workdir}", *flags],
      cwd=REPOSITORY,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )

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


def disturb(run: Run, disk: SmallDisk, kind: str, delay: float) -> Event:
  """Starts a run, lets something happen to it, and waits for its end."""
  (log, _), before = run.logged(), run.newest()
  process = run.start()
  # A pipe that nobody reads would be full too.
  read = ThreadPoolExecutor(1).submit(process.communicate)
  # The first checkpoint of this start is written from here on.
  while process.poll() is None:
    now, step = run.logged()
    if now != log and step > before:
      break
    time.sleep(0.01)
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
  printed, errors = read.result()
  disk.free()
  resumed = f"resuming at step {before}\n" if before else "a new run of"
  errors_told = [x for x in errors.splitlines() if x.startswith("error: ")]
  wrong = {
    f"did not end within {PATIENCE:g} s": hangs,
    f"status {process.returncode}": not hangs
    and process.returncode != (-9 if kind == KILL else 2),
    f"did not go on at step {before}": resumed not in printed,
    "a traceback": "Traceback" in errors,
    f"{len(errors_told)} lines of errors": len(errors_told) != (kind == FILL),
    f"checkpoint {newest} was lost": run.newest() < newest,
  }
  fault = ", ".join(name for name, is_so in wrong.items() if is_so)
  if fault:
    print(errors[-2000:], file=sys.stderr)
  return Event(kind, run.newest(), seconds, fault)


def finish(run: Run) -> str:
  """Trains to the end; what went wrong, or nothing."""
  before, process = run.newest(), run.start()
  printed, errors = process.communicate()
  if process.returncode:
    return f"the last start: status {process.returncode}: {errors[-2000:]}"
  if before and f"resuming at step {before}\n" not in printed:
    return f"the last start did not go on at step {before}"
  return ""


def last_state(run: Run) -> Any:
  """All arrays of the last checkpoint."""
  config = override(read_page(PAGE), run.fields)
  data: Data = open_data(config)
  experiment = build_experiment(config, data.train.spec, data.latents)
  checkpoints = Checkpoints(run.workdir / "checkpoints", create=False)
  state = checkpoints.restore(experiment.state_shapes)
  checkpoints.close()
  return jax.device_get(state)


def same_bits(one: Any, other: Any) -> bool:
  """Whether two trees of arrays are equal, bit for bit."""
  pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
  return all(
    np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs
  )


def table(events: list[Event]) -> str:
  """A row for each kind of event."""
  lines = [
    f"{'event':10}{'times':>6}{'went on':>9}{'longest time to exit':>22}"
  ]
  for kind in dict.fromkeys(event.kind for event in events):
    own = [event for event in events if event.kind == kind]
    fine = sum(not event.fault for event in own)
    longest = max(event.seconds for event in own)
    lines.append(f"{kind:10}{len(own):6}{fine:9}{longest:20.1f} s")
  return "\n".join(lines)


def drill(root: Path, args: argparse.Namespace) -> int:
  """Does all that is asked for; the exit status."""
  rng = random.Random(args.seed)
  kinds = [KILL] * args.kills + [FILL] * args.fills
  rng.shuffle(kinds)
  fields = {
    "data.dir": str(root / "data"),
    "train.images": args.images,
    "train.log_images": 16,
    "train.checkpoint_images": 16,
    "train.evaluate_images": args.images,
    "evaluation.images": 0,
    "evaluation.images_during_training": 0,
  }
  undisturbed, events = Run(root / "undisturbed", fields), []
  faults = [finish(undisturbed)]
  with SmallDisk(root / "disk", 64, mount=args.mount) as disk:
    run = Run(disk.folder / "run", fields)
    print("tmpfs" if disk.mounted else "limit of file sizes", flush=True)
    for kind in kinds:
      event = disturb(run, disk, kind, rng.uniform(0, LONGEST))
      events.append(event)
      faults.append(event.fault)
      print(
        f"{event.kind}: the newest checkpoint is of step {event.step}, ended "
        f"after {event.seconds:.1f} s {event.fault}",
        flush=True,
      )
    faults.append(finish(run))
    equal = same_bits(last_state(run), last_state(undisturbed))
  print(table(events))
  print(f"all of the last state: {'the same bits' if equal else 'OTHER BITS'}")
  for fault in filter(None, faults):
    print(f"FAULT: {fault}")
  return int(any(faults) or not equal)


def main() -> int:
  """Drills in a temporary folder; the exit status."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--kills", type=int, default=20)
  parser.add_argument("--fills", type=int, default=5)
  parser.add_argument("--images", type=int, default=2400)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument(
    "--mount", action=argparse.BooleanOptionalAction, default=True
  )
  args = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    return drill(Path(folder), args)


if __name__ == "__main__":
  sys.exit(main())
