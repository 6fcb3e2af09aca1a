"""What a measurement ran on."""

import subprocess
from importlib.metadata import distributions

import jax
import jax.numpy as jnp


def card() -> dict[str, str]:
  """The device of this process, and what drives it."""
  return {
    "device": jax.devices()[0].device_kind,
    "driver": _driver(),
    "jax": jax.__version__,
    "cudnn": _cudnn(),
    "float32_products": _float32_products(),
  }


def peak_bytes() -> int | None:
  """The most memory that JAX has had in use; None where it does not know."""
  stats = jax.local_devices()[0].memory_stats() or {}
  return stats.get("peak_bytes_in_use")


def _driver() -> str:
  """NVIDIA's driver; "none" without one."""
  query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
  try:
    done = subprocess.run(query, capture_output=True, text=True, check=True)
  except (OSError, subprocess.CalledProcessError):
    return "none"
  return done.stdout.split("\n")[0]


def _cudnn() -> str:
  """The version of cuDNN that was installed for JAX; "none" without one."""
  found = {
    package.version
    for package in distributions()
    if (package.name or "").startswith("nvidia-cudnn-cu")
  }
  return ", ".join(sorted(found)) or "none"


def _float32_products() -> str:
  """ "rounded" if the device rounds float32 factors, as with TF32; "exact"."""
  # TF32 keeps 10 bits behind the point, bfloat16 7.
  factor = jnp.full((256, 256), 1 + 2**-12, jnp.float32)
  product = jax.jit(jnp.matmul)(factor, jnp.eye(256))
  return "exact" if bool((product == factor).all()) else "rounded"
