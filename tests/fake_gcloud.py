"""A stand-in for gcloud with one slice of two workers, which are folders.

FAKE_CLOUD is its folder: `state` holds the state of the slice, `calls` a line
for each call. Command lines of ssh really run, with a worker's folder as home.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

CLOUD = Path(os.environ["FAKE_CLOUD"])
WORKERS = [CLOUD / "worker0", CLOUD / "worker1"]
# The interpreter of each worker: lost with the slice at the first run, fails
# with FAKE_STATUS at the second and succeeds at the third.
PYTHON = """#!/usr/bin/env bash
echo "$@" >> "$FAKE_CLOUD/runs"
case "$(wc -l < "$FAKE_CLOUD/runs")" in
  1 | 2) echo SUSPENDED > "$FAKE_CLOUD/state"; kill -KILL $$ ;;
  3 | 4) exit "$FAKE_STATUS" ;;
esac
echo trained
"""


def flag(name):
  (value,) = [a for a in sys.argv if a.startswith(f"--{name}=")]
  return value.partition("=")[2]


def state():
  path = CLOUD / "state"
  return path.read_text().strip() if path.exists() else None


def main():
  words = [word for word in sys.argv[1:] if not word.startswith("-")]
  with (CLOUD / "calls").open("a") as calls:
    calls.write(" ".join(words[:4]) + "\n")
  verb = words[3] if words[0] == "compute" else words[1]
  if verb == "describe":
    if state() is None:
      sys.exit("ERROR: (gcloud) NOT_FOUND: no such resource")
    print(state())
    if state() == "WAITING_FOR_RESOURCES":
      (CLOUD / "state").write_text("ACTIVE")
  elif verb == "create":
    assert state() is None
    (CLOUD / "state").write_text("WAITING_FOR_RESOURCES")
    for worker in WORKERS:
      worker.mkdir()
  elif verb == "delete":
    (CLOUD / "state").unlink()
    for worker in WORKERS:
      shutil.rmtree(worker)
  elif verb == "scp":
    for worker in WORKERS:
      shutil.copy(words[4], worker / words[5].partition(":")[2])
  elif verb == "ssh":
    line = flag("command")
    if line.startswith("tar "):  # Nothing is installed.
      line = line.partition(" && ")[0]
    for worker in WORKERS if flag("worker") == "all" else WORKERS[:1]:
      env = {**os.environ, "HOME": str(worker)}
      subprocess.run(["bash", "-c", line], cwd=worker, env=env, check=True)
      python = worker / "lowdiff_jax" / ".venv" / "bin" / "python"
      python.parent.mkdir(parents=True, exist_ok=True)
      python.write_text(PYTHON)
      python.chmod(0o755)


if __name__ == "__main__":
  main()
