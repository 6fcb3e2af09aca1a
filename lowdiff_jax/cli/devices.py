"""Whether JAX runs on the devices that the user means it to run on."""

import glob
import importlib.util
from typing import Any, NamedTuple

import jax
from absl import logging

from lowdiff_jax.distributed import is_main
from lowdiff_jax.profiling.slices import describe_no_chip
from lowdiff_jax.types import UserError


class Platform(NamedTuple):
  """A kind of device that JAX needs a build of its own for.

  Attributes:
    device: its name.
    build: to install with pip.
    packages: of the build, by one of which it is known to be installed.
    files: which the device's driver leaves.
  """

  device: str
  build: str
  packages: tuple[str, ...]
  files: tuple[str, ...]


_CUDA = Platform(
  "NVIDIA GPU",
  '"jax[cuda13]"',
  ("jax_cuda13_plugin", "jax_cuda12_plugin"),
  ("/dev/nvidia[0-9]*", "/dev/dxg"),
)
_TPU = Platform(
  "TPU", '"jax[tpu]"', ("libtpu",), ("/dev/accel[0-9]*", "/dev/vfio/[0-9]*")
)
# As JAX_PLATFORMS names them.
PLATFORMS = {"cuda": _CUDA, "gpu": _CUDA, "tpu": _TPU}


def leave_devices() -> None:
  """Makes JAX start on the CPU, and leave GPUs and TPUs to other programs."""
  jax.config.update("jax_platforms", "cpu")


def check_devices() -> None:
  """Warns of a GPU or TPU that is not used.

  Raises:
    UserError: JAX has no device of the platform that JAX_PLATFORMS names.
  """
  config: Any = jax.config  # It does not declare its flags.
  wanted = config.jax_platforms
  if not _is_there(_TPU):
    describe_no_chip()
  try:
    found = jax.default_backend()
  # JAX asserts that there is a device where the package for it is missing.
  except (RuntimeError, AssertionError) as error:
    raise UserError(_no_device(wanted or "", str(error))) from error
  # If JAX_PLATFORMS says so, it is meant.
  if found == "cpu" and not wanted and is_main():
    for platform in (_CUDA, _TPU):
      if _is_there(platform):
        logging.warning("%s", _unused(platform))


def _is_there(platform: Platform) -> bool:
  """Whether the driver's files say that this machine has such a device."""
  return any(glob.glob(pattern) for pattern in platform.files)


def _no_device(wanted: str, reason: str) -> str:
  named = [PLATFORMS[name] for name in wanted.split(",") if name in PLATFORMS]
  # JAX's own way out is the last part of ours.
  reason = reason.split("\n")[0].split(" (set JAX_PLATFORMS")[0]
  way_out = (
    f"install JAX's build for it, {_install(named[0])}"
    if named
    else "expected cpu, cuda or tpu"
  )
  return (
    f"JAX_PLATFORMS={wanted}: JAX finds no such device"
    f"{reason and f' ({reason})'}; {way_out}, or unset JAX_PLATFORMS to use "
    "what there is"
  )


def _unused(platform: Platform) -> str:
  if any(importlib.util.find_spec(name) for name in platform.packages):
    why = "JAX cannot start it: see docs/install.md"
  else:
    why = f"this is JAX's build for CPUs: {_install(platform)}"
  return (
    f"this runs on the CPU and not on the {platform.device} of this machine, "
    f"as {why}"
  )


def _install(platform: Platform) -> str:
  return f"pip install -r requirements.txt {platform.build}"
