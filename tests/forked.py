"""Runs the command line in a process that has imported its modules.

Importing them is a third of what a tiny run costs. A server that has done so
forks a process for each command, before JAX starts a device: all else is as
with `python -m lowdiff_jax.main`.
"""

import atexit
import functools
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_SERVER = """
import importlib, json, os, runpy, sys
from lowdiff_jax.cli import NAMES, main
import sklearn.linear_model
for name in NAMES:
  importlib.import_module(f"lowdiff_jax.cli.{name}")
for line in sys.stdin:
  command = json.loads(line)
  if not os.fork():
    break
  _, status = os.wait()
  print(os.waitstatus_to_exitcode(status), flush=True)
else:
  sys.exit()
for number, file in enumerate(command["files"]):
  os.dup2(os.open(file, os.O_RDWR), number)
sys.argv = command["words"]
runpy.run_module("lowdiff_jax.main", run_name="__main__", alter_sys=True)
"""


@functools.cache
def _server(folder: Path, environment: frozenset) -> subprocess.Popen:
  """One for each environment: libraries read it when they are imported."""
  server = subprocess.Popen(
    [sys.executable, "-c", _SERVER],
    cwd=folder,
    env=dict(environment),
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
    start_new_session=True,
  )
  atexit.register(server.kill)
  return server


def run(
  words: Sequence[str],
  folder: Path,
  environment: Mapping[str, str],
  timeout: float,
) -> subprocess.CompletedProcess:
  """Runs `python -m lowdiff_jax.main`, with these words after it, to its end.

  Args:
    words: arguments.
    folder: where it runs.
    environment: its variables.
    timeout: seconds.

  Returns:
    Its exit status and what it printed.

  Raises:
    subprocess.TimeoutExpired: it had not ended by then.
  """
  ours = {k: v for k, v in environment.items() if k != "PYTEST_CURRENT_TEST"}
  server = _server(folder, frozenset(ours.items()))
  with tempfile.TemporaryDirectory() as printed:
    files = [os.devnull, f"{printed}/stdout", f"{printed}/stderr"]
    for file in files[1:]:
      Path(file).touch()
    request = {"files": files, "words": ["lowdiff_jax/main.py", *words]}
    print(json.dumps(request), file=server.stdin, flush=True)
    if not select.select([server.stdout], [], [], timeout)[0]:
      os.killpg(server.pid, 9)
      _server.cache_clear()
      raise subprocess.TimeoutExpired(request["words"], timeout)
    status = int(server.stdout.readline())
    out, errors = (Path(file).read_text() for file in files[1:])
  return subprocess.CompletedProcess(request["words"], status, out, errors)
