"""What a run tells of itself: goodput, skipped steps, progress, stalls."""

import json
import os
import subprocess
import sys
import time

import jax.numpy as jnp
import pytest

from lowdiff_jax import console
from lowdiff_jax.train.goodput import PARTS, Goodput
from lowdiff_jax.train.log import MAX_SKIPPED, Log
from lowdiff_jax.train.watchdog import STATUS
from lowdiff_jax.types import UserError
from tests import command_line


@pytest.fixture
def clock(monkeypatch):
  """Seconds that a test sets."""
  now = [1000.0]
  for name in ("monotonic", "time", "perf_counter"):
    monkeypatch.setattr(time, name, lambda: now[0])

  def passes(seconds):
    now[0] += seconds

  return passes


def test_goodput_adds_up_over_restarts(clock):
  goodput = Goodput()
  for part, seconds in (("compile", 20), ("input", 5), ("steps", 10)):
    with goodput.spending(part):
      clock(seconds)
    clock(5)  # Between them, the devices compute.
  record = json.loads(json.dumps(goodput.record(finished=False)))
  clock(30)  # Lost, with what was computed meanwhile.
  goodput = Goodput(record)
  clock(20)
  shares = goodput.scalars()
  seconds = {"steps": 45, "input": 5, "compile": 20, "restarts": 30}
  assert shares == {
    f"goodput/{part}": seconds.get(part, 0) / 100 for part in PARTS
  }
  assert "goodput of 0.03 h: steps 45.0%, input 5.0%" in goodput.summary()


def test_time_after_the_end_of_a_run_is_not_lost(clock):
  goodput = Goodput()
  clock(10)
  record = goodput.record(finished=True)
  clock(1e6)
  assert Goodput(record).scalars()["goodput/steps"] == 1.0


class Writer:
  """Keeps the last that is written."""

  def write_scalars(self, step, scalars):
    self.step, self.scalars = step, dict(scalars)


def log_steps(log, losses, step):
  for loss in losses:
    log.add({"loss": jnp.asarray(loss), "grad_norm": jnp.asarray(1.0)})
  return log.write(step, 8 * step, None, {"more": 1.0})


def test_skipped_steps_are_counted_and_not_in_the_means():
  writer = Writer()
  log = Log(writer, 8, skips=True)
  assert log_steps(log, [1.0, jnp.nan, 3.0, jnp.inf], 4) == 2.0
  assert writer.scalars["skipped_steps"] == 2 and writer.scalars["more"] == 1
  assert log_steps(log, [jnp.nan], 5) is None
  assert "loss" not in writer.scalars and writer.scalars["images"] == 40
  assert (
    log_steps(log, [1.0], 6) == 1.0 and writer.scalars["skipped_steps"] == 0
  )


def test_too_many_skipped_steps_in_a_row_end_the_run():
  log = Log(Writer(), 8, skips=True)
  few = [jnp.nan] * (MAX_SKIPPED - 1)
  log_steps(log, [*few, 1.0], MAX_SKIPPED)
  log_steps(log, few, 2 * MAX_SKIPPED - 1)
  with pytest.raises(UserError, match=r"10 steps in a row .* up to step 20 "):
    log_steps(log, [jnp.nan], 2 * MAX_SKIPPED)


def test_progress_without_a_terminal_is_a_line_a_minute(clock, capsys):
  with console.Progress("train", 3600, 600) as progress:
    for seconds in (59, 1, 30, 30):
      clock(seconds)
      progress.note = "step 7, loss 1.5"
      progress.update(300)
  out, err = capsys.readouterr()
  assert err == "" and out.splitlines() == [
    "train: 1,200 of 3,600 images (step 7, loss 1.5), 10 images/s, 0.07 h left",
    "train: 1,800 of 3,600 images (step 7, loss 1.5), 10 images/s, 0.05 h left",
  ]


STALLS = """
import sys, threading
from pathlib import Path
import numpy as np, optax, jax
from lowdiff_jax.train import loop, state, watch
from lowdiff_jax.train.checkpoint import Checkpoints
from lowdiff_jax.train.goodput import Goodput
from lowdiff_jax.train.schedule import Schedule
from lowdiff_jax.train.writer import NullWriter
from lowdiff_jax.types import Batch

def batches(step):
  for _ in range(3):
    yield Batch(np.zeros((4, 1)), np.zeros(4))
  hangs()

def hangs(*unused):
  threading.Event().wait()

folder, evaluate_every = Path(sys.argv[1]), int(sys.argv[2])
watch.LATE["evaluation"] = 2
checkpoints = Checkpoints(folder / "checkpoints")
loop.train(
  state.create({"w": np.ones(2)}, optax.identity()),
  train_step=lambda s, k, b: (s._replace(step=s.step + 1), {}),
  batches=batches,
  key=jax.random.key(0),
  schedule=Schedule(9, 4, 9, evaluate_every, 9, stall_seconds=1.2),
  run=loop.Run(folder, checkpoints, {}, NullWriter(), hangs, Goodput()),
)
"""


@pytest.mark.parametrize(
  ("evaluate_every", "caller", "minutes"),
  [(9, "batches", "0.02"), (2, "_evaluate", "0.04")],
)
def test_a_stall_ends_the_program_with_the_stacks_of_its_threads(
  evaluate_every, caller, minutes, tmp_path
):
  """Data never comes, or an evaluation, which has longer, never ends."""
  done = subprocess.run(
    [sys.executable, "-c", STALLS, str(tmp_path), str(evaluate_every)],
    cwd=command_line.REPOSITORY,
    env=command_line.environment(),
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == STATUS == os.EX_TEMPFAIL, done.stderr
  file = tmp_path / "stall_process_0.txt"
  for text in (done.stderr, file.read_text()):
    assert "in hangs" in text and f"in {caller}" in text
    assert "Thread 0x" in text
  line = done.stderr.splitlines()[-1]
  assert line.startswith(f"error: no training step for {minutes} minutes")
  assert str(file) in line
