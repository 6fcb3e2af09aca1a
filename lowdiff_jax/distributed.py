"""Devices and processes: the mesh, shardings, and what processes agree on.

The mesh has the axes `data` and `fsdp`. The batch is split over both axes.
Parameters, their EMA and the optimizer's moments are split over `fsdp` alone,
so fsdp=1 is plain data parallelism.
"""

import collections
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from lowdiff_jax import console
from lowdiff_jax.types import AnyArray, Array, Batch, UserError

Number = TypeVar("Number", int, float)
Item = TypeVar("Item")

# Of the mesh; a batch is split over both.
AXES = ("data", "fsdp")
ROWS = P(AXES)
# Bytes of one device by its data sheet.
MEMORY = {
  "B200": 180e9,
  "H200": 141e9,
  "H100": 80e9,
  "A100-SXM4-40GB": 40e9,
  "A100": 80e9,
  "TPU v4": 32e9,
  "TPU v5 lite": 16e9,
  "TPU v5": 95e9,
  "TPU v6 lite": 32e9,
}
# Splitting a smaller array costs more in messages than it saves in memory.
MIN_FSDP_SIZE = 2**12


def make_mesh(
  data: int = -1, fsdp: int = 1, devices: Sequence[jax.Device] | None = None
) -> Mesh:
  """A mesh over the devices.

  Args:
    data: size of the axis `data`; -1 for all devices that `fsdp` leaves.
    fsdp: size of the axis `fsdp`.
    devices: all by default.

  Returns:
    The mesh.

  Raises:
    UserError: the axes do not multiply to the number of devices.
  """
  devices = jax.devices() if devices is None else devices
  if data == -1 and fsdp > 0:
    data = len(devices) // fsdp
  if data < 1 or fsdp < 1 or data * fsdp != len(devices):
    raise UserError(
      f"data={data} x fsdp={fsdp} is not the number of devices, "
      f"{len(devices)}; data=-1 takes what fsdp leaves"
    )
  return jax.make_mesh(
    (data, fsdp),
    AXES,
    axis_types=(AxisType.Auto,) * 2,
    devices=devices,
  )


def least_fsdp(size: int, devices: Sequence[jax.Device]) -> int:
  """The smallest fsdp with which the train state takes a quarter of the memory.

  Args:
    size: bytes of the train state and the gradients.
    devices: all of one kind.

  Returns:
    A power of two that divides the number of devices: the smallest with
    size / fsdp <= memory / 4, else the largest; 1 for devices that `MEMORY`
    does not list, such as CPUs.
  """
  kind = devices[0].device_kind
  memory = next((MEMORY[name] for name in MEMORY if name in kind), math.inf)
  fsdp = 1
  while size / fsdp > memory / 4 and len(devices) % (2 * fsdp) == 0:
    fsdp *= 2
  return fsdp


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """The leading axis over all devices."""
  return NamedSharding(mesh, ROWS)


def replicated(mesh: Mesh) -> NamedSharding:
  """The same on every device."""
  return NamedSharding(mesh, P())


def over_devices(
  function: Callable[[Any, Any], Any], mesh: Mesh, rows: Any = ROWS
) -> Callable[[Any, Any], Any]:
  """Maps a function of a batch over the devices, each with its own rows.

  Args:
    function: (shared, batch) -> results, where a row of the results depends on
      `shared` and the same row of the batch alone.
    mesh: the mesh.
    rows: where the rows are in the results; by default the leading axis.

  Returns:
    The function, in which nothing moves between devices: before it, what is
    sharded of `shared` is gathered.
  """
  mapped: Callable[..., Any] = jax.shard_map(
    function,
    mesh=mesh,
    in_specs=(P(), ROWS),
    out_specs=rows,
    check_vma=False,
  )
  return mapped


def state_shardings(mesh: Mesh, tree: Any) -> Any:
  """For each array of `tree` its largest axis that divides, over `fsdp`.

  Args:
    mesh: the mesh.
    tree: arrays or their shapes (`jax.eval_shape`).

  Returns:
    A tree of shardings; small arrays are replicated.
  """
  fsdp = mesh.shape["fsdp"]

  def sharding(leaf: Any) -> NamedSharding:
    spec: list[str | None] = [None] * len(leaf.shape)
    axes = [i for i, n in enumerate(leaf.shape) if n % fsdp == 0]
    if fsdp > 1 and axes and math.prod(leaf.shape) >= MIN_FSDP_SIZE:
      spec[max(axes, key=lambda i: leaf.shape[i])] = "fsdp"
    return NamedSharding(mesh, P(*spec))

  return jax.tree.map(sharding, tree)


def global_batch(mesh: Mesh, batch: Batch) -> Batch:
  """The batch of all processes, from each process's slab."""
  sharding = batch_sharding(mesh)
  return jax.tree.map(
    lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)),
    batch,
  )


def is_main() -> bool:
  """Whether this is process 0, the only one that writes files and prints."""
  return jax.process_index() == 0


def agree(number: Number) -> Number:
  """Process 0's number (32 bits of it), of the same type, on all processes."""
  if jax.process_count() == 1:
    return number
  shared = multihost_utils.broadcast_one_to_all(np.asarray(number))
  return type(number)(shared)


def barrier(name: str) -> None:
  """Waits until every process has reached the barrier of this name."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(name)


def ahead(items: Iterable[Item], depth: int = 2) -> Iterator[Item]:
  """The items in order, each drawn before the last `depth` ones are returned.

  JAX dispatches asynchronously. Where drawing an item dispatches a computation
  and does not fetch its result, the devices compute the next items while the
  host works on this one.

  Args:
    items: results of dispatched computations.
    depth: items that wait at most.

  Yields:
    The items. An error is raised after the items that were drawn before it.
  """
  waiting = collections.deque[Item]()
  try:
    for item in items:
      waiting.append(item)
      if len(waiting) > depth:
        yield waiting.popleft()
  except Exception:
    yield from waiting
    raise
  yield from waiting


def whole_batch(size: int, mesh: Mesh) -> int:
  """`size`, rounded up to divide over the devices."""
  return -(-size // mesh.size) * mesh.size


def in_batches(
  what: str,
  function: Callable[[Any, Any, Array], Any],
  load: Callable[[], tuple[Any, Any]],
  batch_size: int,
  mesh: Mesh,
) -> Callable[[AnyArray], Any]:
  """Images of any number -> function(module, params, images).

  Args:
    what: the function is, as in "the feature network".
    function: of a network and a batch of images; returns a tree of arrays with
      a leading axis for the images.
    load: () -> (network, its parameters); called when they are needed.
    batch_size: images at a time, rounded up to divide over the devices.
    mesh: a batch is split over all its devices; results are on all of them.

  Returns:
    The function; it compiles for one size.
  """
  size = whole_batch(batch_size, mesh)
  over_devices = batch_sharding(mesh)

  def spread(module: Any, params: Any, images: Array) -> Any:
    images = jax.lax.with_sharding_constraint(images, over_devices)
    return function(module, params, images)

  run = console.Compiling(
    what, spread, static_argnums=0, out_shardings=replicated(mesh)
  )

  def batches(images: Any) -> Any:
    module, params = load()
    parts = []
    for start in range(0, len(images), size):
      part = images[start : start + size]
      count = len(part)
      # The last batch repeats its last image.
      padding = [(0, size - count)] + [(0, 0)] * (part.ndim - 1)
      pad = np if isinstance(part, np.ndarray) else jnp
      result = run(module, params, pad.pad(part, padding, mode="edge"))
      parts.append(jax.tree.map(lambda x, n=count: x[:n], result))
    return jax.tree.map(lambda *x: jnp.concatenate(x), *parts)

  return batches
