"""Eight simulated devices, and programs that are compiled but once."""

import os
from pathlib import Path

from tests import command_line

os.environ.update(command_line.environment(devices=8))

import jax
import pytest

jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> Path:
  """Where TFDS prepares `digits` once for all tests."""
  return tmp_path_factory.mktemp("tfds")
