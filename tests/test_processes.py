"""Processes of one run, of which one is lost or ends before the other."""

import signal
import socket
import subprocess
import sys

import pytest

from tests import command_line

# Joins, says so and waits in a collective operation for the other process.
PROGRAM = """
import os, signal, sys, time
from jax.experimental import multihost_utils
from lowdiff_jax.cli import processes
processes.start(lost=4)
multihost_utils.sync_global_devices("both are here")
print("ready", flush=True)
{then}
try:
  multihost_utils.sync_global_devices("the end")
except Exception:
  processes.failed(unforeseen=True)
  raise
"""


def start(*then):
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
  return [
    subprocess.Popen(
      [sys.executable, "-c", PROGRAM.format(then=lines)],
      cwd=command_line.REPOSITORY,
      env=command_line.environment(
        JAX_COORDINATOR_ADDRESS=f"127.0.0.1:{port}",
        JAX_NUM_PROCESSES=str(len(then)),
        JAX_PROCESS_ID=str(i),
      ),
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for i, lines in enumerate(then)
  ]


@pytest.mark.parametrize(
  ("number", "then"),
  [
    (2, "os.kill(os.getpid(), signal.SIGKILL)"),
    # Process 0 waits for the others at its end, which they do not reach.
    (0, "processes.failed(unforeseen=False); sys.exit()"),
  ],
)
def test_a_lost_process_ends_the_others_in_one_line(number, then):
  all_three = start(*(then if i == number else "" for i in range(3)))
  lost = all_three.pop(number)
  for process in all_three:
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2, errors
    (line,) = [ln for ln in errors.splitlines() if ln.startswith("error: ")]
    assert f"process {number} of 3 is lost" in line
    assert "the same command goes on from the newest checkpoint" in line
    assert "Traceback" not in errors and "stack trace" not in errors
  lost.communicate(timeout=60)
  assert lost.returncode in (2, -signal.SIGKILL)


def test_a_process_that_has_ended_is_not_lost():
  """It waits for the other at its end, without signs of life."""
  both = start("time.sleep(6); sys.exit()", "sys.exit()")
  for process in both:
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "lost" not in errors
