"""Mode plan: programs for accelerators that are not here."""

import json

import numpy as np
import pytest

from lowdiff_jax.cli.plan import cell
from lowdiff_jax.experiment import compiled, plan, specs
from lowdiff_jax.experiment.overrides import as_flags
from lowdiff_jax.types import ImageSpec, UserError
from tests import command_line, tiny
from tests.accelerators import for_tpus

GIB = 2**30


@pytest.mark.parametrize(
  ("page", "spec"),
  [
    ("digits.py:", ImageSpec(8, 1, 10)),
    ("cifar10.py:", ImageSpec(32, 3, 0)),
    ("cifar10.py:cond", ImageSpec(32, 3, 10)),
    ("ffhq64.py:", ImageSpec(64, 3, 0)),
    ("imagenet256.py:", ImageSpec(16, 32, 1000)),
  ],
)
def test_known_sets_need_not_be_there(page, spec, tmp_path):
  name, arguments = page.split(".py:")
  config = tiny.config(arguments, name, **{"data.dir": str(tmp_path)})
  found, latents = specs.planned_spec(config)
  assert found == spec and not list(tmp_path.iterdir())
  assert (latents is None) == (config.data.space == "pixels")


def test_the_pyramid_of_latents():
  config = tiny.config(name="imagenet256")
  sides = (specs.planned_spec(config)[1].resolutions,)
  config.latents.pyramid = "reencode"
  sides += (specs.planned_spec(config)[1].resolutions,)
  assert sides == ((16,), (8, 16))


def test_other_sets_are_looked_at_or_described(tmp_path):
  source = f"npz:{tmp_path}/images.npz"
  config = tiny.config(**{"data.source": source})
  with pytest.raises(UserError) as error:
    specs.planned_spec(config)
  assert str(error.value).startswith("config.data.source: ")
  assert "--config.plan.num_classes" in str(error.value)
  config.plan.num_classes = 7
  assert specs.planned_spec(config)[0] == ImageSpec(8, 3, 7)
  config.plan.num_classes = -1
  images = np.zeros((20, 8, 8, 1), np.uint8)
  np.savez(tmp_path / "images.npz", images=images, labels=np.arange(20) % 4)
  assert specs.planned_spec(config)[0] == ImageSpec(8, 1, 4)


def given(**record):
  """A record of a program that does not fit."""
  return {
    "devices": 8,
    "fsdp": 1,
    "images": 256,
    "state_bytes": GIB,
    "available_bytes": 16 * GIB,
    "needed_bytes": 20 * GIB,
    **record,
  }


def test_overrides_that_cost_least_come_first():
  config = tiny.config(name="imagenet256", **{"model.remat": "none"})
  # The state alone fills a device.
  full = given(state_bytes=15 * GIB)
  assert next(plan.training_overrides(config, full)) == {"mesh.fsdp": 8}
  sharded = given(state_bytes=10 * GIB, fsdp=4)
  assert next(plan.training_overrides(config, sharded)) == {"mesh.fsdp": 8}
  ladder = list(plan.training_overrides(config, given(devices=1)))
  assert ladder[:4] == [
    {"train.microbatches": 2},
    {"train.microbatches": 4},
    {"model.remat": "full"},
    {"model.remat": "full", "train.microbatches": 2},
  ]
  config.model.remat = "full"
  ladder = list(plan.training_overrides(config, given(devices=1)))
  assert ladder == [{"train.microbatches": 2**k} for k in range(1, 7)]


def test_smaller_batches_of_sampling_fill_the_devices():
  config = tiny.config()
  ladder = plan.sampling_overrides(config, given(images=32))
  assert list(ladder) == [
    {"sampling.batch_size": 16},
    {"sampling.batch_size": 8},
    {"mesh.fsdp": 2},
    {"mesh.fsdp": 2, "sampling.batch_size": 16},
    {"mesh.fsdp": 2, "sampling.batch_size": 8},
  ]


@for_tpus
def test_a_network_of_pixels():
  config = tiny.config(**{"plan.slice": "v5e-4"})
  record = compiled.compile_for(config, compiled.sampler)
  assert record["fits"] and record["images"] == 12 and record["devices"] == 4
  assert set(record["collective_bytes"]) == {"all-gather"}
  # Every device gets 12 images of both stages.
  moved = 12 * (4 * 4 + 8 * 8) * 4
  assert record["collective_bytes"]["all-gather"] == moved
  assert record["collective_seconds"] == moved / 200e9
  speed = record["images"] / record["expected_seconds"]
  assert record["expected_images_per_second"] == pytest.approx(speed)
  peak = 4 * 197e12
  flops = 2 * record["model_macs"] / record["expected_seconds"]
  assert record["expected_mfu"] == pytest.approx(flops / peak)
  shares = [operation["share"] for operation in record["operations"]]
  assert len(shares) == 10 and shares == sorted(shares, reverse=True)


@for_tpus
def test_the_command_finds_overrides_that_fit(tmp_path):
  """Deep for training, many heads for sampling: much memory to compile soon."""
  done = command_line.run(
    "--mode=plan",
    f"--workdir={tmp_path}",
    "--quiet",
    "--config.plan.slice=v5e-1",
    "--config.model.depth=256",
    "--config.model.remat=none",
    "--config.model.hidden_size=64",
    "--config.model.num_heads=16",
    "--config.stages.s8.batch_size=64",
    "--config.stages.s16.batch_size=64",
    "--config.stages.s16.guidance_scale=1.0",
    "--config.baseline.steps=2",
    "--config.baseline.sampler=euler",
    f"--config.sampling.batch_size={2**11}",
    config="configs/imagenet256.py:smoke,baseline",
    JAX_PLATFORMS="",
    # What is compiled in half the time needs as much memory.
    JAX_EXEC_TIME_OPTIMIZATION_EFFORT="-1.0",
  )
  assert done.returncode == 0 and done.stderr == ""
  record = json.loads((tmp_path / "plan.json").read_text())
  assert record["slice"]["name"] == "v5e-1" and record["versions"]["libtpu"]
  assert record["config"]["model.depth"] == 256
  for name in ("training", "sampling"):
    before, after = (
      record[name][part] for part in ("as_given", "with_overrides")
    )
    assert not before["fits"] and after["fits"]
    assert before["available_bytes"] == 15.75 * GIB == after["available_bytes"]
    assert before["needed_bytes"] > 15.75 * GIB > after["needed_bytes"]
    assert (
      f"{name} fits with {' '.join(as_flags(record[name]['overrides']))}"
      in done.stdout
    )
  assert record["training"]["overrides"] == {"train.microbatches": 2}
  assert record["sampling"]["overrides"] == {"sampling.batch_size": 2**10}
  step = record["training"]["with_overrides"]
  # What is computed again is no work of the model's.
  assert step["model_macs"] == record["training"]["as_given"]["model_macs"]
  first, head, _, fits = done.stdout.splitlines()[:4]
  assert first == "v5e-1: 1 x TPU v5 lite, 15.8 GiB each"
  assert head.split() == [
    *("training", "step", "training,", "overridden"),
    *("sampler", "sampling,", "overridden"),
  ]
  assert fits.split() == ["fits", "NO", "yes", "NO", "yes"]


def test_what_has_no_estimate_makes_the_others_bounds():
  program = {
    "expected_seconds": 0.5,
    "expected_images_per_second": 2048.0,
    "expected_mfu": 0.251,
    "without_estimate": {},
  }
  keys = list(program)[:3]
  assert [cell(program, k) for k in keys] == ["0.5", "2,048.0", "25.1%"]
  program["without_estimate"] = {"tpu_custom_call": 12}
  assert [cell(program, k) for k in keys] == ["> 0.5", "< 2,048.0", "< 25.1%"]
  assert cell(program, "needed_bytes") == "-"


def test_a_slice_that_is_not_known():
  with pytest.raises(UserError, match="expected one of v5e-1, v5e-4, v5e-8"):
    tiny.config(**{"plan.slice": "v9-8"})


def test_libtpu_without_a_tpu_is_silent():
  done = command_line.run("--mode=config", JAX_PLATFORMS="")
  assert done.returncode == 0 and done.stderr == ""
