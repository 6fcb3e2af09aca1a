"""Starts the command line in processes that have imported its modules.

Importing them is a third of what a tiny run costs. A server that has done so
forks a process for each command, before JAX starts a device: all else is as
with `python -m lowdiff_jax.main`.
"""

import atexit
import ctypes
import functools
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

# Variables that libraries read when they are imported; the others are read when
# a program starts.
_READ_FIRST = ("JAX_", "TF", "HF_", "FSSPEC_", "PYTHON")
_READ_LATER = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
_PR_SET_CHILD_SUBREAPER = 36
_SERVER = """
import importlib, json, os, runpy, socket, sys
inherited = list(os.environ)
from lowdiff_jax.cli import NAMES, main
from tests import shortcuts
import sklearn.linear_model
for name in NAMES:
  importlib.import_module(f"lowdiff_jax.cli.{name}")
shortcuts.take()
requests = socket.socket(fileno=int(sys.argv[1]))
while True:
  message, files, _, _ = socket.recv_fds(requests, 2**20, 3)
  if not message:
    sys.exit()
  between = os.fork()
  if not between:
    program = os.fork()
    if not program:
      break
    requests.send(str(program).encode())
    os._exit(0)
  os.waitpid(between, 0)
  requests.send(b"orphaned")
  for file in files:
    os.close(file)
requests.close()
for number, file in enumerate(files):
  os.dup2(file, number)
  os.close(file)
command = json.loads(message)
for name in inherited:
  os.environ.pop(name, None)
os.environ.update(command["environment"])
sys.argv = command["words"]
runpy.run_module("lowdiff_jax.main", run_name="__main__", alter_sys=True)
"""


@functools.cache
def _server(folder: Path, first: frozenset) -> socket.socket:
  """One for each folder and set of variables that are read first."""
  requests, served = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
  server = subprocess.Popen(
    [sys.executable, "-c", _SERVER, str(served.fileno())],
    cwd=folder,
    env={**os.environ, **dict(first)},
    stdout=subprocess.DEVNULL,
    pass_fds=[served.fileno()],
    start_new_session=True,
  )
  served.close()
  atexit.register(server.kill)
  return requests


def _adopts_orphans(adopts: bool) -> None:
  """Whether orphans among its descendants become this process's children."""
  ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(adopts), 0, 0, 0)


class Popen(subprocess.Popen):
  """`subprocess.Popen`, for the arguments of `python -m lowdiff_jax.main`."""

  def __init__(self, args: list[str], **options: Any):
    self._given = [options.get(name) for name in ("stdout", "stderr")]
    super().__init__(args, **options)

  def _execute_child(self, args: list[str], *rest: Any) -> None:
    # By place: cwd and env; then each pipe's end to read and end to write.
    folder, environment, ends = rest[4], dict(rest[5]), rest[9:15]
    files = stdin, stdout, stderr = ends[0], ends[3], ends[5]
    first = {
      (name, value)
      for name, value in environment.items()
      if name.startswith(_READ_FIRST) and name not in _READ_LATER
    }
    requests = _server(folder, frozenset(first))
    words = ["lowdiff_jax/main.py", *args]
    message = json.dumps({"environment": environment, "words": words})
    _adopts_orphans(True)
    try:
      socket.send_fds(requests, [message.encode()], files)
      self.pid = int(requests.recv(32))
      assert requests.recv(32) == b"orphaned"
    finally:
      _adopts_orphans(False)
    self._child_created = True
    given = {x.fileno() for x in self._given if hasattr(x, "fileno")}
    for file in {stdin, stdout, stderr} - given:
      os.close(file)
