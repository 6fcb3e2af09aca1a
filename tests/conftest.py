"""Eight simulated devices, and programs that are compiled but once."""

import os
from pathlib import Path

os.environ["XLA_FLAGS"] = (
  os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import pytest

from tests import command_line

jax.config.update("jax_compilation_cache_dir", str(command_line.COMPILED))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> Path:
  """Where TFDS prepares `digits` once for all tests."""
  return tmp_path_factory.mktemp("tfds")
