"""Starts programs that are the processes of one run, on this machine."""

import subprocess
import sys

from launch.local_processes import free_port
from tests import command_line

# JAX lets process 0 alone keep what it has compiled, and on CPUs the others
# find nothing that it has kept.
_KEEP = """
from jax._src import compiler, distributed
write = compiler._cache_write

def _cache_write(*args):
  state = distributed.global_state
  number, state.process_id = state.process_id, 0
  try:
    write(*args)
  finally:
    state.process_id = number

compiler._cache_write = _cache_write
"""
_MAIN = """
import runpy
runpy.run_module("lowdiff_jax.main", run_name="__main__", alter_sys=True)
"""


def start(commands, variables=None, devices=1, address=None):
  """Starts one process for each command.

  Args:
    commands: argument lists.
    variables: index -> environment, by which the processes know each other;
      by default those of JAX.
    devices: simulated ones of each process.
    address: of process 0; by default a port of this machine.

  Returns:
    The processes.
  """
  address = address or f"127.0.0.1:{free_port()}"

  def of_jax(i):
    return {
      "JAX_COORDINATOR_ADDRESS": address,
      "JAX_NUM_PROCESSES": str(len(commands)),
      "JAX_PROCESS_ID": str(i),
    }

  return [
    subprocess.Popen(
      command,
      cwd=command_line.REPOSITORY,
      env=command_line.environment(devices, **(variables or of_jax)(i)),
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for i, command in enumerate(commands)
  ]


def main(*arguments):
  """The command line in one of several processes."""
  program, _, _, *words = command_line.command(*arguments)
  return [program, "-c", _KEEP + _MAIN, *words]


def python(*programs):
  """Commands that run these programs."""
  return [[sys.executable, "-c", program] for program in programs]


def results(processes, timeout=900):
  """(status, stdout, stderr) of each, after its end."""
  done = [process.communicate(timeout=timeout) for process in processes]
  return [(p.returncode, *d) for p, d in zip(processes, done, strict=True)]
