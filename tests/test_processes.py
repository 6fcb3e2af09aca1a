"""Processes of one run, of which one is lost or ends before the other."""

import socket
import subprocess
import sys
import time

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


def start_two(*then):
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
  return [
    subprocess.Popen(
      [sys.executable, "-c", PROGRAM.format(then=lines)],
      cwd=command_line.REPOSITORY,
      env=command_line.environment(
        JAX_COORDINATOR_ADDRESS=f"127.0.0.1:{port}",
        JAX_NUM_PROCESSES="2",
        JAX_PROCESS_ID=str(i),
      ),
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for i, lines in enumerate(then)
  ]


@pytest.mark.parametrize(
  "then",
  [
    "os.kill(os.getpid(), signal.SIGKILL)",
    # The other does not reach its end, for which this one waits.
    "processes.failed(unforeseen=False); sys.exit()",
  ],
)
def test_a_lost_process_ends_the_others_in_one_line(then):
  left, lost = start_two("", then)
  since = time.monotonic()
  _, errors = left.communicate(timeout=60)
  assert left.returncode == 2, errors
  assert time.monotonic() - since < 30
  (line,) = [ln for ln in errors.splitlines() if ln.startswith("error: ")]
  assert "process 1 of 2 is lost" in line
  assert "the same command goes on from the newest checkpoint" in line
  assert "Traceback" not in errors and "stack trace" not in errors
  lost.kill()
  lost.communicate()


def test_a_process_that_has_ended_is_not_lost():
  """It waits for the other at its end, without signs of life."""
  both = start_two("time.sleep(6); sys.exit()", "sys.exit()")
  for process in both:
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "lost" not in errors
