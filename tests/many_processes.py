"""Starts programs that are the processes of one run, on this machine."""

import sys

from launch.local_processes import free_port
from tests import command_line


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
    command_line.popen(
      command, command_line.environment(devices, **(variables or of_jax)(i))
    )
    for i, command in enumerate(commands)
  ]


def python(*programs):
  """Commands that run these programs."""
  return [[sys.executable, "-c", program] for program in programs]


def results(processes, timeout=900):
  """(status, stdout, stderr) of each, after its end."""
  done = [process.communicate(timeout=timeout) for process in processes]
  return [(p.returncode, *d) for p, d in zip(processes, done, strict=True)]
