"""The training run that drills disturb, and what came of it."""

import atexit
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from launch.local_processes import free_port
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.data.splits import Data
from lowdiff_jax.experiment.overrides import as_flags, override, read_page
from lowdiff_jax.experiment.parts import build_experiment
from lowdiff_jax.experiment.sources import open_data
from lowdiff_jax.train.checkpoint import Checkpoints

REPOSITORY = Path(__file__).parent.parent.parent
PAGE = "digits.py:smoke"
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
  """A program under way, and the files that it prints to."""

  process: subprocess.Popen[bytes]
  output: IO[bytes]
  complaints: IO[bytes]

  def printed(self) -> str:
    """What it has printed so far."""
    return _content(self.output)

  def errors(self) -> str:
    """What it has printed to stderr so far."""
    return _content(self.complaints)


def _content(file: IO[bytes]) -> str:
  # The program writes at the offset that it shares with this process.
  size = os.fstat(file.fileno()).st_size
  return os.pread(file.fileno(), size, 0).decode(errors="replace")


class Run(NamedTuple):
  """A training run: the same command each time it is started.

  Attributes:
    workdir: of the run.
    fields: of the config.
    page: the config, in configs/.
    processes: how many.
    devices: simulated ones of each process.
    heartbeat: seconds without a sign of life until a process is lost.
  """

  workdir: AnyPath
  fields: dict[str, Any]
  page: str = PAGE
  processes: int = 1
  devices: int = 1
  heartbeat: int = 25

  def start(self) -> list[Program]:
    """Starts its processes, or goes on with it."""
    fields = as_flags(self.fields)
    program = [sys.executable, "-u", "-m", "lowdiff_jax.main"]
    program += [f"--config={self._page()}", f"--workdir={self.workdir}"]
    address = f"127.0.0.1:{free_port()}"
    joined = f"--coordinator={address}", f"--num_processes={self.processes}"
    program.append(f"--heartbeat={self.heartbeat}")
    # Most of what a start does is to compile.
    flags = (
      f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0 "
      f"--xla_force_host_platform_device_count={self.devices}"
    ).strip()
    started = []
    for i in range(self.processes):
      # They are read when the program has ended, too.
      out, err = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115
      process = subprocess.Popen(
        [*program, *fields, *joined, f"--process_id={i}"],
        cwd=REPOSITORY,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
        stdout=out,
        stderr=err,
      )
      atexit.register(process.kill)
      started.append(Program(process, out, err))
    return started

  def _page(self) -> str:
    return f"{REPOSITORY}/configs/{self.page}"

  def newest(self, but: int = 0) -> int:
    """The step of the newest checkpoint but so many; 0 if there is none."""
    folder = epath.Path(self.workdir / "checkpoints")
    if not folder.exists():
      return 0
    names = ocp.path.step.standard_name_format()
    steps = sorted(found.step for found in names.find_all(folder))
    return steps[-1 - but] if len(steps) > but else 0

  def logged(self) -> tuple[float, int]:
    """When metrics.jsonl was written, and its last step."""
    path = epath.Path(self.workdir / "metrics.jsonl")
    if not path.exists():
      return 0, 0
    steps = re.findall(r'"step": (\d+)', path.read_text())
    return float(path.stat().mtime), int(steps[-1]) if steps else 0

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
      time.sleep(0.02)
    return programs

  def finish(self) -> str:
    """Trains to the end; what went wrong, or nothing."""
    before, programs = self.newest(), self.start()
    end(programs)
    for program in programs:
      if status := program.process.returncode:
        return f"the last start: status {status}: {program.errors()[-2000:]}"
    if resumed(before) not in programs[0].printed():
      return f"the last start did not go on at step {before}"
    return ""

  def config(self) -> Any:
    """The config of the run."""
    return override(read_page(self._page()), self.fields)

  def last_state(self) -> list[np.ndarray]:
    """All arrays of the last checkpoint."""
    config = self.config()
    data: Data = open_data(config)
    experiment = build_experiment(config, data.train.spec, data.latents)
    checkpoints = Checkpoints(self.workdir / "checkpoints", create=False)
    state = checkpoints.restore(experiment.state_shapes)
    checkpoints.close()
    return [np.asarray(leaf) for leaf in jax.tree.leaves(jax.device_get(state))]


def end(programs: Sequence[Program], patience: float = float("inf")) -> float:
  """Waits for the end of all, and kills those that do not end.

  Returns:
    The seconds until all had ended; infinity if some had to be killed.
  """
  since = time.monotonic()
  while any(program.process.poll() is None for program in programs):
    if time.monotonic() - since > patience:
      for program in programs:
        program.process.kill()
        program.process.wait()
      return float("inf")
    time.sleep(0.02)
  return time.monotonic() - since


def same_bits(run: Run, undisturbed: Run) -> bool:
  """Whether all arrays of the last checkpoints of two runs are equal."""
  pairs = zip(run.last_state(), undisturbed.last_state(), strict=True)
  return all(a.tobytes() == b.tobytes() for a, b in pairs)


def fields(root: AnyPath, images: int) -> dict[str, Any]:
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
  print(f"{'event':32}{'times':>6}{'went on':>9}{'longest time to exit':>22}")
  for kind in dict.fromkeys(event.kind for event in events):
    own = [event for event in events if event.kind == kind]
    fine = sum(not event.fault for event in own)
    longest = max(event.seconds for event in own)
    print(f"{kind:32}{len(own):6}{fine:9}{longest:20.1f} s")
  equal = same_bits(run, undisturbed)
  print(f"all of the last state: {'the same bits' if equal else 'OTHER BITS'}")
  faults = [event.fault for event in events if event.fault]
  return faults if equal else [*faults, "other bits"]
