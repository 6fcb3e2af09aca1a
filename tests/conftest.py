"""Eight simulated devices, and programs that are compiled but once."""

import contextlib
import fcntl
import os
import shutil
from pathlib import Path

from launch.drill import bucket as emulator
from tests import command_line, wheels

os.environ.update(command_line.environment(devices=8))

import jax
import pytest

from tests import many_processes, runs, shortcuts

jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
shortcuts.take()


# The files that take longest, the longest first.
LONGEST = (
  *("resume", "modes", "scores", "latents", "buckets", "mistakes", "plan"),
  *("library", "collectives", "identity", "notebook", "study", "long_run"),
)


def pytest_xdist_auto_num_workers():
  """One more than cores, as some always wait for a program."""
  return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items):
  """Whole programs first, the longest before: none is left to run alone."""
  programs = Path(__file__).parent

  def place(item):
    name = item.path.stem.removeprefix("test_")
    number = LONGEST.index(name) if name in LONGEST else len(LONGEST)
    return item.path.parent != programs, number

  items.sort(key=place)


@contextlib.contextmanager
def by_one_worker(tmp_path_factory, name):
  """A folder of all workers, which one at a time may look at and fill."""
  root = tmp_path_factory.getbasetemp()
  if "PYTEST_XDIST_WORKER" in os.environ:
    root = root.parent
  with open(root / f"{name}.lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    yield root / name


@pytest.fixture(scope="session")
def once(tmp_path_factory):
  """A training of one worker for all: its folders, and what it printed."""
  with by_one_worker(tmp_path_factory, "once") as folder:
    if not (folder / "printed").exists():
      flags = f"--workdir={folder}/run", f"--config.data.dir={folder}/tfds"
      done = command_line.run(*flags)
      assert done.returncode == 0, done.stderr
      (folder / "printed").write_text(done.stdout)
  return folder


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory, once) -> Path:
  """Where TFDS has prepared `digits`."""
  folder = tmp_path_factory.mktemp("data") / "tfds"
  return shutil.copytree(once / "tfds", folder)


@pytest.fixture(scope="session")
def trained(tmp_path_factory, once, data_dir):
  """A workdir after `train`, and the flags that go on with it."""
  workdir = tmp_path_factory.mktemp("runs") / "digits-smoke"
  shutil.copytree(once / "run", workdir)
  flags = (f"--workdir={workdir}", f"--config.data.dir={data_dir}")
  return workdir, flags, (once / "printed").read_text()


@pytest.fixture(scope="session")
def two(tmp_path_factory, data_dir):
  """The workdir of a run by two processes that nothing interrupted."""
  with by_one_worker(tmp_path_factory, "two") as folder:
    if not (folder / "done").exists():
      both = runs.start_two(folder / "run", data_dir, **runs.HALVES)
      for status, _, errors in many_processes.results(both):
        assert status == 0, errors
      (folder / "done").touch()
  return folder / "run"


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
  """The programs of an environment that has the wheel, built by one worker."""
  with by_one_worker(tmp_path_factory, "installed") as folder:
    if not (folder / "done").exists():
      folder.mkdir()
      wheel = wheels.build(folder / "source")
      wheels.install(wheel, folder / "environment")
      (folder / "done").touch()
  return folder / "environment" / "bin"


@pytest.fixture(scope="session")
def bucket(tmp_path_factory):
  """A bucket, as gs://BUCKET, for this process and the programs it starts."""
  with emulator.served() as served, pytest.MonkeyPatch.context() as patch:
    for name, value in served.environment.items():
      patch.setenv(name, value)
    patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("copies")))
    yield emulator.ROOT
