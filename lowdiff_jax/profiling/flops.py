"""Counts MACs of functions, and the peak FLOP/s of devices."""

import functools
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core

# Dense TFLOP/s of one device by its data sheet: 16-bit, and float32 at JAX's
# default precision (TF32 on GPUs, bfloat16 on TPUs).
DATA_SHEETS = {
  "B200": (2250, 1125),
  "H200": (989, 494),
  "H100 80GB": (989, 494),
  "A100": (312, 156),
  "TPU v4": (275, 275),
  "TPU v5 lite": (197, 197),
  "TPU v5": (459, 459),  # v5p, as JAX calls it.
  "TPU v6 lite": (918, 918),
}


def macs(function: Callable, *args: Any) -> int:
  """MACs (multiply-adds) of convolutions and matrix products in a function.

  A convolution with kernel [k,k,I,O] counts k k I MACs per output element,
  padding included. They are counted in the jaxpr, so the number does not depend
  on device and compiler. FLOPs are twice the MACs.

  Args:
    function: traced, not run.
    *args: arrays or their shapes.

  Returns:
    The number of MACs.

  Raises:
    ValueError: the function has a while loop, whose length is unknown.
  """
  return _count(jax.make_jaxpr(function)(*args).jaxpr)


def _shape(variable: Any) -> tuple[int, ...]:
  """The shape of a variable of a jaxpr."""
  return variable.aval.shape


def _count(jaxpr: core.Jaxpr) -> int:
  """MACs of a jaxpr and of those inside it."""
  total = 0
  for eqn in jaxpr.eqns:
    name = eqn.primitive.name
    if name == "while":
      raise ValueError("the MACs of a while loop cannot be counted")
    if name == "conv_general_dilated":
      kernel = _shape(eqn.invars[1])
      outputs = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
      size = math.prod(_shape(eqn.outvars[0]))
      total += size * math.prod(kernel) // outputs
    elif name == "dot_general":
      (contracted, _), _ = eqn.params["dimension_numbers"]
      length = math.prod(_shape(eqn.invars[0])[i] for i in contracted)
      total += math.prod(_shape(eqn.outvars[0])) * length
    elif name.startswith("dot_product_attention_fwd"):
      # cuDNN's fused kernel: q k^T and its product with v.
      query, key = (_shape(v) for v in eqn.invars[:2])
      total += 2 * math.prod(query) * key[1]
    else:
      inner = sum(_count(j) for j in _inner(eqn.params.values()))
      total += inner * (eqn.params["length"] if name == "scan" else 1)
  return total


def _inner(values: Iterable[Any]) -> Iterator[core.Jaxpr]:
  """Yields the jaxprs among the parameters of an equation."""
  for value in values:
    if isinstance(value, tuple | list):
      yield from _inner(value)
    elif isinstance(value, core.ClosedJaxpr):
      yield value.jaxpr
    elif isinstance(value, core.Jaxpr):
      yield value


class Peak(NamedTuple):
  """Peak FLOP/s of all devices together, and its source."""

  flops: float
  name: str


def peak(dtype: str, devices: Sequence[jax.Device] | None = None) -> Peak:
  """The peak FLOP/s of all devices.

  Args:
    dtype: "float32" or "bfloat16".
    devices: all of this run by default.

  Returns:
    FLOP/s by `DATA_SHEETS`; for other devices measured on a product of two
    large matrices.
  """
  devices = jax.devices() if devices is None else devices
  for name, (half, single) in DATA_SHEETS.items():
    if name in devices[0].device_kind:
      tera = half if dtype == "bfloat16" else single
      return Peak(tera * 1e12 * len(devices), f"data sheet of {name}")
  # Simulated CPU devices share their cores.
  is_cpu = devices[0].platform == "cpu"
  size, count = (1024, 1) if is_cpu else (8192, len(devices))
  return Peak(
    count * _matrix_product(dtype, size),
    f"measured on a {size}x{size} matrix product",
  )


@functools.cache
def _matrix_product(dtype: str, size: int, repeats: int = 5) -> float:
  """Median FLOP/s of the product of two square matrices."""
  matrix = jnp.ones((size, size), dtype)
  product = jax.jit(jnp.matmul)
  seconds = []
  for repeat in range(repeats + 1):
    since = time.perf_counter()
    product(matrix, matrix).block_until_ready()
    if repeat:
      seconds.append(time.perf_counter() - since)
  return 2 * size**3 / statistics.median(seconds)
