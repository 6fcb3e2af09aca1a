"""Accelerators by name."""

import importlib.util

import pytest

from lowdiff_jax.profiling import flops, slices
from lowdiff_jax.types import UserError
from tests import accelerators

TPUS = [name for name, s in slices.SLICES.items() if s.platform == "tpu"]
GPUS = [name for name in slices.SLICES if name not in TPUS]


@pytest.mark.parametrize("name", TPUS)
@accelerators.for_tpus
def test_tpus_are_as_many_as_the_name_says(name):
  devices, one = slices.devices(name), slices.SLICES[name]
  generation, count = name.split("-")
  # The names of v5p count TensorCores, of which a chip has two.
  chips = int(count) // (2 if generation == "v5p" else 1)
  assert len(devices) == one.devices == chips
  kind = {"v5e": "TPU v5 lite", "v5p": "TPU v5", "v6e": "TPU v6 lite"}
  assert devices[0].device_kind == kind[generation]
  peak = {"v5e": 197e12, "v5p": 459e12, "v6e": 918e12}[generation]
  assert flops.peak("bfloat16", devices).flops == chips * peak


@pytest.mark.parametrize("name", GPUS)
def test_gpus_need_the_build_for_them(name):
  if importlib.util.find_spec("jax_cuda13_plugin"):
    devices = slices.devices(name)
    assert len(devices) == slices.SLICES[name].devices
    assert devices[0].compute_capability == "9.0"
  else:
    with pytest.raises(UserError) as error:
      slices.devices(name)
    assert str(error.value) == (
      f"config.plan.slice = {name}: JAX's compiler for it is not installed: "
      'pip install "jax[cuda13]"'
    )
