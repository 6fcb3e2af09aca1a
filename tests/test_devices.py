"""Devices that JAX does not find, and such that it does not use."""

import jax
import pytest

from lowdiff_jax.cli import devices
from lowdiff_jax.types import UserError
from tests import command_line


@pytest.mark.parametrize(
  ("platforms", "said"),
  [
    ("cuda", 'pip install -r requirements.txt "jax[cuda13]"'),
    ("tpu", 'pip install -r requirements.txt "jax[tpu]"'),
  ],
)
def test_a_build_without_the_device(platforms, said, tmp_path):
  done = command_line.run(f"--workdir={tmp_path}/run", JAX_PLATFORMS=platforms)
  assert done.returncode == 2, done.stderr
  (line,) = done.stderr.splitlines()
  assert line.startswith(f"error: JAX_PLATFORMS={platforms}: JAX finds no such")
  assert said in line and "or unset JAX_PLATFORMS" in line
  assert not (tmp_path / "run").exists()


@pytest.fixture
def chosen():
  """Restores jax_platforms."""
  before = jax.config.jax_platforms
  yield
  jax.config.update("jax_platforms", before)


def test_unknown_platform(chosen, monkeypatch):
  reason = (
    "Unable to initialize backend 'gpuu': Backend 'gpuu' is not in the list of "
    "known backends: ['cpu', 'tpu']. (set JAX_PLATFORMS='' to choose)"
  )

  def fail():
    raise RuntimeError(reason)

  monkeypatch.setattr(jax, "default_backend", fail)
  jax.config.update("jax_platforms", "gpuu")
  with pytest.raises(UserError, match="expected cpu, cuda or tpu") as error:
    devices.check_devices()
  assert "JAX_PLATFORMS=gpuu: JAX finds no such device (Unable" in str(
    error.value
  )
  assert "(set" not in str(error.value)


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("meant", [True, False])
def test_a_gpu_that_is_not_used(
  there, meant, chosen, tmp_path, monkeypatch, caplog
):
  """Here the driver's file is a file of the test."""
  gpu = devices._CUDA._replace(files=(f"{tmp_path}/nvidia[0-9]*",))
  monkeypatch.setattr(devices, "_CUDA", gpu)
  monkeypatch.setattr(devices, "_TPU", gpu._replace(files=()))
  if there:
    (tmp_path / "nvidia0").touch()
  jax.config.update("jax_platforms", "cpu" if meant else None)
  devices.check_devices()
  warned = [record.getMessage() for record in caplog.records]
  assert len(warned) == int(there and not meant)
  for text in warned:
    assert "runs on the CPU and not on the NVIDIA GPU" in text
    assert 'pip install -r requirements.txt "jax[cuda13]"' in text
