"""A disk that is full: one line that names the file, nothing that was lost."""

import errno
import json
import os
import subprocess
import sys

import pytest

from launch.drill.disk import SmallDisk
from lowdiff_jax import files
from tests import command_line
from tests.disk_writers import OLD


@pytest.fixture(params=["tmpfs", "limit"], scope="module")
def disk(request, tmp_path_factory):
  """Full by ENOSPC, if a disk may be mounted here; and by EFBIG."""
  folder = tmp_path_factory.mktemp("disk")
  with SmallDisk(folder, 16, mount=request.param == "tmpfs") as disk:
    yield disk


@pytest.fixture(scope="module")
def said(disk):
  """What each kind of write says, and the log of the program."""
  process = subprocess.Popen(
    [sys.executable, "-m", "tests.disk_writers", str(disk.folder)],
    cwd=command_line.REPOSITORY,
    env=command_line.environment(),
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  for line in process.stdout:
    if line == "ready\n":
      break
  disk.fill(process.pid)
  printed, errors = process.communicate("go\n", timeout=120)
  assert process.returncode == 0, errors
  assert "Traceback" not in errors and "Exception ignored" not in errors, errors
  return json.loads(printed.splitlines()[-1])


PLACES = {
  "text": "old.json",
  "png": "a.png",
  "gif": "a.gif",
  "figure": "a.figure.png",
  "features": "features/00000000.npz",
  "model": "model/model.safetensors",
  "latents": "latents/train-00000-of-00004.array_record",
  "metrics": "metrics.jsonl",
  "checkpoint": "checkpoints",
  "lock": ".train.lock",
}


def test_every_write_says_so_in_one_line(disk, said):
  reason = os.strerror(errno.ENOSPC if disk.mounted else errno.EFBIG)
  assert said.keys() == PLACES.keys()
  for name, place in PLACES.items():
    expected = f"{disk.folder}/{place} cannot be written ({reason}): "
    assert said[name].startswith(expected), (name, said[name])
    assert "\n" not in said[name]


def test_nothing_half_written_is_left(disk, said):
  del said
  assert (disk.folder / "old.json").read_text() == OLD
  left = {path.name for path in disk.folder.rglob("*")}
  assert not [name for name in left if name.endswith((".partial", ".lock"))]
  assert "0" not in left and "a.png" not in left


COMPILE = """
import jax
from lowdiff_jax.cli import faults
faults.quiet_libraries()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
for k in range(3):
  print(jax.jit(lambda x, k=k: x + k)(1.0))
"""


def test_a_cache_of_compiled_programs_that_is_full_is_one_warning(tmp_path):
  with SmallDisk(tmp_path / "disk", 1) as disk:
    folder = "/dev/null"
    if disk.mounted:
      folder = disk.folder
      disk.fill(os.getpid())
    done = subprocess.run(
      [sys.executable, "-c", COMPILE],
      cwd=command_line.REPOSITORY,
      env=command_line.environment(JAX_COMPILATION_CACHE_DIR=f"{folder}/kept"),
      capture_output=True,
      text=True,
      check=True,
    )
  assert done.stdout == "1.0\n2.0\n3.0\n"
  (warning,) = done.stderr.splitlines()
  assert warning.startswith("WARNING: Error ") and f"{folder}/kept" in warning


TASKS = """
import asyncio
from lowdiff_jax.cli import faults
faults.quiet_libraries()
async def fail():
  raise ValueError
async def leave():
  task = asyncio.create_task(fail())
  await asyncio.sleep(0)
asyncio.run(leave())
print("ended")
"""


def test_a_task_that_nobody_waits_for_prints_no_traceback():
  done = subprocess.run(
    [sys.executable, "-c", TASKS],
    cwd=command_line.REPOSITORY,
    env=command_line.environment(),
    capture_output=True,
    text=True,
    check=True,
  )
  assert (done.stdout, done.stderr) == ("ended\n", "")


@pytest.mark.parametrize(
  ("error", "number"),
  [
    (OSError(errno.ENOSPC, "full"), errno.ENOSPC),
    (OSError(errno.EROFS, "read-only"), errno.EROFS),
    (ValueError("UNAVAILABLE: Input/output error [5]"), errno.EIO),
    (ExceptionGroup("two", [KeyError("a"), OSError(28, "full")]), 28),
    (OSError(errno.EACCES, "not allowed"), None),
    (RuntimeError("RESOURCE_EXHAUSTED: Out of memory"), None),
  ],
)
def test_faults_of_a_disk_are_told_from_others(error, number):
  assert files.disk_fault(error) == number
  try:
    try:
      raise error
    except type(error):
      raise RuntimeError("in the cleaning up")  # noqa: B904
  except RuntimeError as later:
    assert files.disk_fault(later) == number
  if number is None and not isinstance(error, OSError):
    with pytest.raises(type(error)), files.writing("a"):
      raise error
  else:
    with (
      pytest.raises(files.DiskError, match="a cannot be"),
      files.writing("a"),
    ):
      raise error
