"""The programs of a config, compiled for accelerators that are not here."""

import importlib.metadata
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from lowdiff_jax import console, distributed
from lowdiff_jax.experiment import memory
from lowdiff_jax.experiment.cost import sampling_macs, training_macs
from lowdiff_jax.experiment.parts import Experiment, build_experiment
from lowdiff_jax.experiment.specs import planned_spec
from lowdiff_jax.experiment.training import check_batches
from lowdiff_jax.profiling import flops, hlo, slices
from lowdiff_jax.profiling.slices import Slice
from lowdiff_jax.types import Batch

# Operations in a record.
_OPERATIONS = 10
# On a machine without the GPU nothing can be tried out, and some shapes of
# Triton's products are only compiled after that.
_OPTIONS: dict[str, dict[str, Any]] = {
  "tpu": {},
  "cuda": {
    "xla_gpu_autotune_level": 0,
    "xla_gpu_enable_triton_gemm": False,
  },
}


class _Call(NamedTuple):
  """A program with the shapes of its arguments.

  Attributes:
    what: the program is, for messages.
    function: jitted.
    args: shapes on their shardings.
    images: in a call.
    macs: of a call, for the model alone.
  """

  what: str
  function: Any
  args: tuple[Any, ...]
  images: int
  macs: float


def training_step(experiment: Experiment) -> _Call:
  """A training step on a batch of the experiment's source."""
  check_batches(experiment.config, experiment.mesh)
  size, spec = experiment.batch_size, experiment.spec
  everywhere = distributed.replicated(experiment.mesh)
  over_devices = distributed.batch_sharding(experiment.mesh)
  sides: tuple[int, ...] = (spec.resolution,)
  dtype: Any = jnp.uint8
  if experiment.latents is not None:
    sides, dtype = experiment.latents.resolutions, jnp.float16
  images = tuple(
    jax.ShapeDtypeStruct(
      (size, side, side, spec.channels), dtype, sharding=over_devices
    )
    for side in sides
  )
  labels = jax.ShapeDtypeStruct((size,), jnp.int32, sharding=over_devices)
  batch = Batch(images if len(images) > 1 else images[0], labels)
  key = jax.eval_shape(lambda: jax.random.key(0)).update(sharding=everywhere)
  args = (experiment.state_shapes, key, batch)
  macs = training_macs(experiment)
  return _Call("the training step", experiment.step, args, size, macs)


def sampler(experiment: Experiment) -> _Call:
  """A batch of sampling.batch_size images by the config's stages."""
  mesh = experiment.mesh
  size = distributed.whole_batch(experiment.config.sampling.batch_size, mesh)
  each = jax.ShapeDtypeStruct(
    (size,), jnp.int32, sharding=distributed.batch_sharding(mesh)
  )
  seed = jax.ShapeDtypeStruct(
    (), jnp.uint32, sharding=distributed.replicated(mesh)
  )
  args = (experiment.state_shapes.params, seed, each, each, None)
  program = experiment.generator.program(experiment.stages)
  macs = size * sampling_macs(experiment)
  return _Call("the sampler", program, args, size, macs)


def compile_for(
  config: ConfigDict, make: Callable[[Experiment], _Call]
) -> dict[str, Any]:
  """Compiles a program of a config for the devices of config.plan.slice.

  Args:
    config: the config.
    make: `training_step` or `sampler`.

  Returns:
    A record in JSON's types: "fits"; bytes on a device, but for "state_bytes"
    of the state or the parameters on all of them; of a program that was
    compiled also collectives and, on TPUs, expected seconds. "needed_bytes" is
    None if it does not fit and the compiler does not say.

  Raises:
    UserError: the config does not go together with that many devices.
  """
  one = slices.SLICES[config.plan.slice]
  devices = slices.devices(one.name)
  experiment = build_experiment(config, *planned_spec(config), devices=devices)
  call = make(experiment)
  record = {
    "images": call.images,
    "devices": len(devices),
    "fsdp": experiment.mesh.shape["fsdp"],
    "model_macs": call.macs,
    "state_bytes": sum(
      x.size * x.dtype.itemsize for x in jax.tree.leaves(call.args[0])
    ),
  }
  since = time.process_time()
  try:
    with console.taking(f"compiling {call.what} for {one.name}"):
      program = call.function.lower(*call.args).compile(
        compiler_options=_OPTIONS[one.platform]
      )
  except jax.errors.JaxRuntimeError as error:
    if not memory.is_lack(str(error)):
      raise
    needed, available = memory.sizes(str(error))
    return record | {
      "fits": False,
      "needed_bytes": needed,
      "available_bytes": available or one.memory,
      "compile_cpu_seconds": time.process_time() - since,
    }
  record["compile_cpu_seconds"] = time.process_time() - since
  record |= _memory(program, one)
  peak = flops.peak(config.model.dtype, devices).flops
  estimate = hlo.estimate(program.as_text())
  sent = estimate.sent(record["fsdp"])
  return {
    **record,
    "collective_bytes": dict(estimate.moved),
    "collective_seconds": sent / one.bandwidth,
    **_cost(estimate, one, call, peak),
  }


def _memory(program: Any, one: Slice) -> dict[str, Any]:
  """Bytes on a device, and whether they fit."""
  sizes = program.memory_analysis()
  parts = {
    "argument_bytes": sizes.argument_size_in_bytes,
    "temporary_bytes": sizes.temp_size_in_bytes,
    "output_bytes": sizes.output_size_in_bytes,
    "aliased_bytes": sizes.alias_size_in_bytes,
  }
  # The results that take an argument's place need none of their own.
  needed = sum(parts.values()) - 2 * parts["aliased_bytes"]
  return {
    "fits": needed <= one.memory,
    "needed_bytes": needed,
    "available_bytes": one.memory,
    **parts,
  }


def _cost(
  estimate: hlo.Estimate, one: Slice, call: _Call, peak: float
) -> dict[str, Any]:
  """What a call is expected to cost, if the compiler has estimated it."""
  total = estimate.total()
  if not total:
    return {}
  seconds = total / one.clock
  return {
    "expected_seconds": seconds,
    "expected_images_per_second": call.images / seconds,
    "expected_mfu": 2 * call.macs / seconds / peak,
    "without_estimate": dict(estimate.unknown),
    "operations": [
      {"share": cycles / total, **operation._asdict()}
      for operation, cycles in estimate.cycles.most_common(_OPERATIONS)
    ],
  }


def versions() -> dict[str, str]:
  """Of the packages that decide on a program."""
  found = {}
  for name in ("jax", "jaxlib", "flax", "libtpu", "jax-cuda13-plugin"):
    try:
      found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      continue
  return found
