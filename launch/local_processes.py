"""Runs a command as several processes of this machine, as a cluster would.

  python -m launch.local_processes --processes=N [--devices=M] COMMAND...

M is the number of simulated CPU devices of each process; without it JAX
chooses the devices. Each line of output begins with the number of its process.
When one process fails, the others get SIGTERM, and SIGKILL after --grace
seconds. The exit status is that of the first that failed, 128 + n if signal n
ended it. SIGTERM and Ctrl-C are sent to all processes.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import IO

# Seconds between two looks at the processes.
_POLL = 0.1


def main() -> int:
  """Runs the command; returns the exit status."""
  parser = argparse.ArgumentParser(prog="launch.local_processes")
  parser.add_argument("--processes", type=int, metavar="N", required=True)
  parser.add_argument("--devices", type=int, metavar="M")
  parser.add_argument("--grace", type=float, default=60.0, metavar="SECONDS")
  parser.add_argument("command", nargs=argparse.REMAINDER)
  args = parser.parse_args()
  if args.processes < 1 or (args.devices is not None and args.devices < 1):
    parser.error("--processes and --devices are numbers of at least 1")
  if not args.command or shutil.which(args.command[0]) is None:
    parser.error(f"there is no command {' '.join(args.command[:1])!r}")
  shared = _environment(args.processes, args.devices)
  processes, readers = [], []
  for i in range(args.processes):
    process = subprocess.Popen(
      args.command,
      env={**shared, "JAX_PROCESS_ID": str(i)},
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
      errors="replace",
    )
    reader = threading.Thread(
      target=_show, args=(i, process.stdout), daemon=True
    )
    reader.start()
    processes.append(process)
    readers.append(reader)
  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, _: _send(processes, number))
  status = _wait(processes, args.grace)
  for reader in readers:
    reader.join(timeout=5)  # A process that it has started may still write.
  return status


def _environment(count: int, devices: int | None) -> dict[str, str]:
  """The variables that all processes share."""
  shared = {
    **os.environ,
    "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port()}",
    "JAX_NUM_PROCESSES": str(count),
  }
  if devices is not None:
    flag = f"--xla_force_host_platform_device_count={devices}"
    shared["XLA_FLAGS"] = f"{shared.get('XLA_FLAGS', '')} {flag}".strip()
    shared["JAX_PLATFORMS"] = "cpu"
  return shared


def _wait(processes: list[subprocess.Popen], grace: float) -> int:
  """Waits for all; when one fails, ends the others within `grace` seconds.

  Returns:
    The exit status of the first that failed, else 0.
  """
  status, since = 0, 0.0
  while True:
    codes = [process.poll() for process in processes]
    failed = [code for code in codes if code]
    if failed and not status:
      status, since = failed[0], time.monotonic()
      _send(processes, signal.SIGTERM)
    if None not in codes:
      return status if status >= 0 else 128 - status
    if status and time.monotonic() - since > grace:
      _send(processes, signal.SIGKILL)
    time.sleep(_POLL)


def _send(processes: list[subprocess.Popen], number: int) -> None:
  for process in processes:
    process.send_signal(number)


def _show(index: int, lines: IO[str]) -> None:
  for line in lines:
    sys.stdout.write(f"{index}: {line}")
    sys.stdout.flush()


def free_port() -> int:
  """A port that nobody listens at.

  It is below those that Linux gives to outgoing connections: one of them, or a
  second question, could get the same port before somebody listens there.
  """
  while True:
    port = random.SystemRandom().randrange(10_000, 32_000)
    with contextlib.suppress(OSError), socket.create_server(("", port)):
      return port


if __name__ == "__main__":
  sys.exit(main())
