"""Accelerators by name, as devices that programs are compiled for.

The machine needs none of them: XLA compiles for a described device.
"""

import functools
import importlib.util
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies

from lowdiff_jax.distributed import MEMORY
from lowdiff_jax.types import UserError


class Slice(NamedTuple):
  """Devices that run one program.

  Attributes:
    name: as in "v5e-8".
    platform: "tpu" or "cuda".
    topology: XLA's name of it.
    devices: number of devices, as JAX counts them: chips, or GPUs.
    memory: bytes that a program can use on each device.
    bandwidth: bytes per second that a device can send to others, over all its
      links, by the data sheet.
    clock: cycles per second of a TPU; 0 for GPUs, for which the compiler
      estimates none.
  """

  name: str
  platform: str
  topology: str
  devices: int
  memory: float
  bandwidth: float
  clock: float = 0.0


# Chips along each axis, by the number of chips.
_FLAT = {
  1: (1, 1),
  4: (2, 2),
  8: (2, 4),
  16: (4, 4),
  32: (4, 8),
  64: (8, 8),
  128: (8, 16),
  256: (16, 16),
}
_CUBES = {
  4: (2, 2, 1),
  8: (2, 2, 2),
  16: (2, 2, 4),
  32: (2, 4, 4),
  64: (4, 4, 4),
  128: (4, 4, 8),
  256: (4, 8, 8),
  512: (8, 8, 8),
  1024: (8, 8, 16),
}
# Of NVLink 4 in one direction.
_NVLINK = 450e9
# JAX allocates this part of a GPU's memory by default.
GPU_SHARE = 0.75


def _tpus() -> Iterator[Slice]:
  # Generation, JAX's name of it, bandwidth, clock, shapes, and TensorCores per
  # chip, which the names of v5p count.
  for kind, device, bandwidth, clock, shapes, cores in (
    ("v5e", "TPU v5 lite", 200e9, 1.5e9, _FLAT, 1),
    ("v5p", "TPU v5", 600e9, 1.75e9, _CUBES, 2),
    ("v6e", "TPU v6 lite", 448e9, 1.75e9, _FLAT, 1),
  ):
    for chips, sides in shapes.items():
      yield Slice(
        f"{kind}-{chips * cores}",
        "tpu",
        f"{kind}:{'x'.join(map(str, sides))}",
        chips,
        MEMORY[device],
        bandwidth,
        clock,
      )


# An H100 SXM of 80 GB as a GpuTargetConfig of XLA, by its data sheet.
_H100 = f"""
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: {MEMORY["H100"]}
  shared_memory_per_block_optin: 232448
  cuda_compute_capability {{ major: 9 }}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
runtime_version {{ major: 12 minor: 8 patch: 0 }}
device_description_str: "NVIDIA H100 80GB HBM3"
"""

SLICES = {
  one.name: one
  for one in (
    *_tpus(),
    *(
      Slice(
        f"h100-{n}", "cuda", f"1x1x{n}", n, GPU_SHARE * MEMORY["H100"], _NVLINK
      )
      for n in (1, 2, 4, 8)
    ),
  )
}

# Without a chip, libtpu asks the cloud's metadata server and complains of the
# lack of these; and it admits a single process, unless it is told otherwise.
_NO_CHIP = {
  "TPU_SKIP_MDS_QUERY": "1",
  "TPU_ACCELERATOR_TYPE": "v5litepod-8",
  "TPU_WORKER_HOSTNAMES": "localhost",
  "TPU_WORKER_ID": "0",
  "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
  "TPU_STDERR_LOG_LEVEL": "3",
  "TPU_MIN_LOG_LEVEL": "3",
  "TPU_LOG_DIR": "disabled",
}


def describe_no_chip() -> None:
  """Sets environment variables with which libtpu is silent without a TPU.

  To be called before it is loaded, by programs that use no TPU. What is set
  already stays.
  """
  for name, value in _NO_CHIP.items():
    os.environ.setdefault(name, value)


@functools.cache
def devices(name: str) -> tuple[jax.Device, ...]:
  """The devices of a slice, to compile for and not to run on.

  Args:
    name: one of `SLICES`.

  Returns:
    They go where `jax.devices()` would.

  Raises:
    UserError: JAX's build for them is not installed.
  """
  one = SLICES[name]
  options: dict[str, Any] = {}
  if one.platform == "cuda":
    _needs(name, '"jax[cuda13]"', "jax_cuda13_plugin", "jax_cuda12_plugin")
    options = {"topology": one.topology, "target_config": _H100}
  else:
    _needs(name, '"jax[tpu]"', "libtpu")
    describe_no_chip()
    if one.devices == 1:
      options = {"chips_per_host_bounds": (1, 1, 1)}
  topology = topologies.get_topology_desc(one.topology, one.platform, **options)
  return tuple(topology.devices)


def _needs(name: str, build: str, *packages: str) -> None:
  if not any(map(importlib.util.find_spec, packages)):
    raise UserError(
      f"config.plan.slice = {name}: JAX's compiler for it is not installed: "
      f"pip install {build}"
    )
