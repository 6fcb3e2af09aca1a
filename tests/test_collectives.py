"""What the compiled programs move between eight devices."""

import functools
import importlib.util

import jax
import jax.numpy as jnp
import pytest

from lowdiff_jax import distributed
from lowdiff_jax.experiment import training
from lowdiff_jax.profiling import slices
from lowdiff_jax.types import Batch
from tests import tiny
from tests.collectives import collectives, without_cache

# Where libtpu is installed, programs for TPUs are compiled too.
PLATFORMS = ["cpu", *["tpu"] * bool(importlib.util.find_spec("libtpu"))]


@pytest.fixture(autouse=True)
def compiled_anew(request):
  """JAX cannot read what it has kept of programs for described devices."""
  with without_cache(request.getfixturevalue("platform") == "tpu"):
    yield


@functools.cache
def devices(platform):
  return slices.devices("v5e-8") if platform == "tpu" else jax.devices()


def arguments(parts, count):
  """Shapes of a scalar's kind on every device, and of rows over all."""
  everywhere = distributed.replicated(parts.mesh)
  rows = distributed.batch_sharding(parts.mesh)
  side, channels = parts.spec.resolution, parts.spec.channels
  key = jax.eval_shape(lambda: jax.random.key(0))
  shape = jax.ShapeDtypeStruct
  return {
    "key": shape((), key.dtype, sharding=everywhere),
    "seed": shape((), jnp.uint32, sharding=everywhere),
    "numbers": shape((count,), jnp.int32, sharding=rows),
    "images": shape((count, side, side, channels), jnp.uint8, sharding=rows),
  }


@pytest.mark.parametrize("backbone", ["unet", "dit"])
@pytest.mark.parametrize("platform", PLATFORMS)
def test_sampling_moves_nothing_but_its_images(platform, backbone):
  """The images of each stage are gathered at the end.

  The program has a guided and an unguided branch for every step.
  """
  make, names = tiny.experiment, ("s4", "s8")
  if backbone == "dit":
    make, names = tiny.latent_experiment, ("s8", "s16")
  scales = {f"stages.{name}.guidance_scale": 2.0 for name in names}
  parts = make(devices=devices(platform), **scales)
  given = arguments(parts, 16)
  moved = collectives(
    parts.generator.program(parts.stages).compile(
      parts.state_shapes.params,
      given["seed"],
      given["numbers"],
      given["numbers"],
      None,
    )
  )
  assert {(one.kind, one.in_loop) for one in moved} == {("all-gather", False)}
  sizes = [16 * s.resolution**2 * parts.spec.channels for s in parts.stages]
  assert sum(one.bytes for one in moved) == 4 * sum(sizes)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_each_device_draws_for_its_own_images(platform):
  """Also if stages train on different numbers of images."""
  fields = {"data.augment": 0.5, **tiny.stages(batch_size=(32, 16))}
  parts = tiny.experiment(devices=devices(platform), **fields)
  objective = training.make_objective(
    parts.config, parts.generator.bind, parts.codec.normalise
  )
  given = arguments(parts, 32)
  rows = distributed.batch_sharding(parts.mesh)
  draw = jax.jit(objective.draw, out_shardings=rows)
  batch = Batch(given["images"], given["numbers"])
  assert collectives(draw.lower(given["key"], batch).compile()) == []


def moved_by_a_step(platform, **fields):
  """The collectives of a training step, and the sizes of the parameters."""
  batches = {"stages.s8.batch_size": 32, "stages.s16.batch_size": 16}
  parts = tiny.latent_experiment(
    devices=devices(platform),
    **{**batches, "train.microbatches": 2, **fields},
  )
  given = arguments(parts, 32)
  batch = Batch(given["images"], given["numbers"])
  step = parts.step.compile(parts.state_shapes, given["key"], batch)
  return collectives(step), jax.tree.leaves(parts.state_shapes.params)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_gradients_are_reduced_once_a_step(platform):
  """Whatever the number of stages, their batches, blocks and parts."""
  moved, params = moved_by_a_step(platform)
  assert {(one.kind, one.in_loop) for one in moved} == {("all-reduce", False)}
  size = 4 * sum(leaf.size for leaf in params)
  # Beside the gradients, the metrics, in at most a vector register.
  assert size < sum(one.bytes for one in moved) <= size + 512


@pytest.mark.parametrize("platform", PLATFORMS)
def test_sharded_parameters_are_gathered_once_a_step(platform):
  moved, params = moved_by_a_step(platform, **{"mesh.fsdp": 4})
  kinds = {one.kind for one in moved}
  assert kinds <= {"all-gather", "reduce-scatter", "all-reduce"}
  assert not any(one.in_loop for one in moved)
  gathered = sum(one.bytes for one in moved if one.kind == "all-gather")
  sharded = [leaf for leaf in params if "fsdp" in leaf.sharding.spec]
  assert gathered == 4 * sum(leaf.size for leaf in sharded) > 0
