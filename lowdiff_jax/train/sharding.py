"""Where arrays live: a mesh with the axes `data` and `fsdp`.

The batch is split over both axes. Parameters, their average and the optimizer's
moments are split over `fsdp` alone, so fsdp=1 is plain data parallelism.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from lowdiff_jax.interfaces import Batch, UserError

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
      f"config.mesh: data={data} x fsdp={fsdp} is not the number of devices, "
      f"{len(devices)}; data=-1 takes what fsdp leaves"
    )
  return jax.make_mesh(
    (data, fsdp),
    ("data", "fsdp"),
    axis_types=(AxisType.Auto,) * 2,
    devices=devices,
  )


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """The leading axis over all devices."""
  return NamedSharding(mesh, P(("data", "fsdp")))


def replicated(mesh: Mesh) -> NamedSharding:
  """The same on every device."""
  return NamedSharding(mesh, P())


def state_shardings(mesh: Mesh, tree: Any) -> Any:
  """For each array of `tree` its largest axis that divides, over `fsdp`.

  Args:
    mesh: the mesh.
    tree: arrays or their shapes (`jax.eval_shape`).

  Returns:
    A tree of shardings; small arrays are replicated.
  """
  fsdp = mesh.shape["fsdp"]

  def sharding(leaf):
    spec = [None] * len(leaf.shape)
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
