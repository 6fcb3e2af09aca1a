"""Processes of one run, of which one is lost or ends before the other."""

import os
import re
import signal

import pytest

from tests import many_processes
from tests.data import latent_writer

# Joins, says so and waits in a collective operation for the other processes.
PROGRAM = """
import os, signal, sys, time
from absl import flags
from jax.experimental import multihost_utils
from lowdiff_jax.cli import processes
from lowdiff_jax.train import preemption
flags.FLAGS([sys.argv[0], "--heartbeat=3"])
processes.start(training=True, stall=2)
multihost_utils.sync_global_devices("all are here")
print("ready", flush=True)
try:
  {then}
  multihost_utils.sync_global_devices("the end")
except Exception:
  processes.failed(1, unforeseen=True)
  raise
"""
KILL = "os.kill(os.getpid(), signal.SIGKILL)"
FAIL = "raise OSError"
REFUSE = "processes.failed(2, unforeseen=False); sys.exit(2)"
HANG = "preemption.at_step(1); time.sleep(60)"
WAIT = "preemption.at_step(2)"


def start(*then):
  programs = [PROGRAM.format(then=lines) for lines in then]
  return many_processes.start(many_processes.python(*programs))


def the_line(errors):
  """What one that is not lost itself says, and nothing else."""
  (line,) = [x for x in errors.splitlines() if x.startswith("error: ")]
  assert line.endswith("start all processes again, the same command goes on")
  assert "Traceback" not in errors and "stack trace" not in errors
  return line


# With which the other ends: a start of all may mend it, or 2 and 1.
RETRY = os.EX_TEMPFAIL


@pytest.mark.parametrize(
  ("number", "then", "statuses", "reason"),
  [
    (1, KILL, (-9, RETRY), "is lost: no sign of life for 3 s, its own"),
    (0, KILL, (-9, RETRY), "is lost: its own output may say why"),
    (1, REFUSE, (2, 2), "has failed, and said why"),
    (0, FAIL, (1, 1), "has failed, and said why"),
    (1, HANG, (RETRY, RETRY), "hangs: it has been at step 1 for "),
  ],
)
def test_a_lost_process_ends_the_other_in_one_line(
  number, then, statuses, reason
):
  both = start(*(then if i == number else WAIT for i in range(2)))
  done = many_processes.results(both)
  ended = done.pop(number)[0]
  ((returned, _, errors),) = done
  assert (ended, returned) == statuses, errors
  assert the_line(errors).startswith(f"error: process {number} of 2 {reason}")


def test_a_host_that_does_not_answer_is_lost():
  """Process 0 is stopped: its host refuses nothing either."""
  first, second = start(WAIT, "time.sleep(60)")
  assert any("ready" in line for line in first.stdout)
  first.send_signal(signal.SIGSTOP)
  (result,) = many_processes.results([second])
  first.kill()
  first.communicate()
  assert result[0] == RETRY
  assert "error: process 0 of 2 is lost: no answer for 3 s" in result[2]


def test_a_process_that_has_ended_is_not_lost():
  """It waits for the other at its end, without signs of life."""
  for status, _, errors in many_processes.results(
    start("time.sleep(4); sys.exit()", "sys.exit()")
  ):
    assert (status, errors.strip()) == (0, "")


def test_ctrl_c_of_one_stops_both_and_the_save_has_a_grace_period():
  """Process 1 gets it, and the writes never end."""
  train = """
  with preemption.StopSignal(grace=1) as stop:
    step = 1
    print("training", flush=True)
    while not stop.received(step):
      step += 1
      time.sleep(0.01)
  print("agreed on", step, flush=True)
  stop.leave(step, lambda: time.sleep(60))
"""
  first, second = start(train, train)
  assert any("training" in line for line in second.stdout)
  second.send_signal(signal.SIGINT)
  done = many_processes.results([first, second])
  statuses, printed, _ = zip(*done, strict=True)
  assert statuses == (128 + signal.SIGTERM, 128 + signal.SIGINT), done
  (step,) = {re.search(r"agreed on (\d+)", text)[1] for text in printed}
  assert (
    f"stopped at step {step}, whose checkpoint was not written within "
    "config.train.grace_seconds = 1: the same command goes on from the one "
    "before"
  ) in printed[0]


# Encodes, and reports a mistake as the command line does.
ENCODE = """
  from pathlib import Path
  from lowdiff_jax import distributed
  from lowdiff_jax.cli import faults
  from lowdiff_jax.data.latents.writer import Processes, write_latents
  from lowdiff_jax.types import UserError
  from tests.data.latent_writer import SETTINGS, SPLITS, encode
  def refuse(*unused):
    raise UserError("no such image")
  me = Processes({index}, 2, lambda: distributed.barrier("latents"))
  try:
    write_latents(
      SPLITS, {encode}, Path({folder!r}), processes=me, **SETTINGS
    )
  except UserError as error:
    faults.end(error)
"""


def test_a_mistake_of_one_ends_both_that_encode_and_another_goes_on(tmp_path):
  parts = [
    ENCODE.format(index=i, encode=encode, folder=str(tmp_path / "both"))
    for i, encode in enumerate(("encode", "refuse"))
  ]
  first, second = many_processes.results(start(*parts))
  assert (first[0], second[0]) == (2, 2)
  assert "error: no such image" in second[2]
  assert the_line(first[2]).startswith("error: process 1 of 2 has failed, and")
  for folder in tmp_path / "both", tmp_path / "one":
    latent_writer.main(folder)  # One process.
  both, one = (
    {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
    for name in ("both", "one")
  )
  assert both == one


READ = """
  import numpy as np
  from lowdiff_jax.data import pipeline
  from lowdiff_jax.types import Batch
  mine = []
  def read(picks):
    mine.extend(picks.tolist())
    return Batch(np.zeros((len(picks), 2, 2, 1), np.uint8), picks)
  images = pipeline.in_order(read, 10 * np.arange(7), 4)
  print("all", [batch.label.tolist() for batch in images.read(0)])
  print("mine", sorted(mine))
"""


def test_each_reads_its_part_and_gets_all():
  both = many_processes.results(start(READ, READ))
  for (status, printed, errors), mine in zip(
    both, ([0, 10, 40, 50], [20, 30, 60, 60]), strict=True
  ):
    assert status == 0, errors
    assert "all [[0, 10, 20, 30], [40, 50, 60]]" in printed
    assert f"mine {mine}" in printed
