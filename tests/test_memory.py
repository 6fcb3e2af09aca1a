"""A lack of memory names what was needed, and the fields to lower."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lowdiff_jax.experiment import memory
from lowdiff_jax.types import UserError
from tests import tiny


def lack(allocate, *fields, config=None):
  with (
    pytest.raises(UserError) as error,
    memory.or_lower(config or tiny.config(), *fields),
  ):
    allocate()
  return str(error.value)


@pytest.mark.parametrize(
  ("allocate", "needed"),
  [
    (lambda: np.zeros(2**50), "8.0 PiB"),
    (lambda: jnp.zeros(2**47).block_until_ready(), "512.0 TiB"),
    (lambda: jax.jit(lambda: jnp.ones(2**47) * 2)(), "512.0 TiB"),
  ],
)
def test_memory_that_is_not_there(allocate, needed):
  line = lack(allocate, "sampling.batch_size")
  assert f"out of memory ({needed} needed, " in line and "iB available)" in line
  assert line.endswith(": lower config.sampling.batch_size = 10")


@pytest.mark.parametrize(
  ("text", "sizes"),
  [
    (
      "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 68719476736 "
      "bytes.",
      "64.0 GiB needed",
    ),
    (
      "RESOURCE_EXHAUSTED: Error allocating device buffer: Attempting to "
      "allocate 7.63G. That was not possible. There are 6.41G free.",
      "7.6 GiB needed, 6.4 GiB available",
    ),
    (
      "INTERNAL: Error dispatching computation: Out of memory allocating "
      "10067202696 bytes.",
      "9.4 GiB needed",
    ),
    (
      "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory "
      "in memory space hbm. Used 37.45G of 15.48G hbm.",
      "37.5 GiB needed, 15.5 GiB available",
    ),
    (
      "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required "
      "for HLO temporaries (33.07G) exceeds available HBM (15.75G).",
      "33.1 GiB needed, 15.8 GiB available",
    ),
  ],
)
def test_sizes_in_the_errors_of_gpus_and_tpus(text, sizes):
  def allocate():
    raise jax.errors.JaxRuntimeError(text)

  assert f"out of memory ({sizes}" in lack(allocate, "sampling.batch_size")


def test_fields_of_training():
  config = tiny.config(name="imagenet256", **{"model.remat": "none"})
  fields = memory.of_training(config)
  line = lack(lambda: np.zeros(2**50), *fields, config=config)
  assert "lower config.stages.s16.batch_size" in line
  assert "set config.model.remat = full" in line
  assert f"set config.mesh.fsdp = {jax.device_count()}" in line


@pytest.mark.parametrize("name", ["digits", "imagenet256"])
def test_the_fields_of_every_mode_exist(name):
  from lowdiff_jax.cli import NAMES

  config = tiny.config(name=name)
  for mode in NAMES:
    fields = memory.of_mode(mode, config)
    if mode != "encode" or name == "imagenet256":
      assert "out of memory" in lack(
        lambda: np.zeros(2**50), *fields, config=config
      )


def test_other_errors_stay_what_they_are():
  with (
    pytest.raises(jax.errors.JaxRuntimeError),
    memory.or_lower(tiny.config(), "sampling.batch_size"),
  ):
    raise jax.errors.JaxRuntimeError("INTERNAL: a fault")
