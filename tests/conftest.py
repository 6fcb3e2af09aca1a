"""Eight simulated devices, and programs that are compiled but once."""

import os
from pathlib import Path

from launch.drill import bucket as emulator
from tests import command_line

os.environ.update(command_line.environment(devices=8))

import jax
import pytest

jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def pytest_collection_modifyitems(items):
  """Whole programs first: they take longest, and none is left to run alone."""
  programs = Path(__file__).parent
  items.sort(key=lambda item: item.path.parent != programs)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> Path:
  """Where TFDS prepares `digits` once for all tests."""
  return tmp_path_factory.mktemp("tfds")


@pytest.fixture(scope="session")
def trained(tmp_path_factory, data_dir):
  """A workdir after `train`, and the flags that go on with it."""
  workdir = tmp_path_factory.mktemp("runs") / "digits-smoke"
  flags = (f"--workdir={workdir}", f"--config.data.dir={data_dir}")
  done = command_line.run(*flags)
  assert done.returncode == 0, done.stderr
  return workdir, flags, done.stdout


@pytest.fixture(scope="session")
def bucket(tmp_path_factory):
  """A bucket, as gs://BUCKET, for this process and the programs it starts."""
  with emulator.served() as served, pytest.MonkeyPatch.context() as patch:
    for name, value in served.environment.items():
      patch.setenv(name, value)
    patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("copies")))
    yield emulator.ROOT
