"""A function of images, a few at a time, over all devices."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from lowdiff_jax.interfaces import Array


def whole_batch(size: int, mesh: Mesh) -> int:
  """`size`, rounded up to divide over the devices."""
  return -(-size // mesh.size) * mesh.size


def in_batches(
  function: Callable[[Any, Any, Array], Any],
  load: Callable[[], tuple[Any, Any]],
  batch_size: int,
  mesh: Mesh,
) -> Callable[[Array], Any]:
  """Images of any number -> function(module, params, images).

  Args:
    function: of a network and a batch of images; returns a tree of arrays with
      a leading axis for the images.
    load: () -> (network, its parameters); called when they are needed.
    batch_size: images at a time, rounded up to divide over the devices.
    mesh: a batch is split over all its devices; results are on all of them.

  Returns:
    The function; it compiles for one size.
  """
  size = whole_batch(batch_size, mesh)
  over_devices = NamedSharding(mesh, P(("data", "fsdp")))

  def spread(module, params, images):
    images = jax.lax.with_sharding_constraint(images, over_devices)
    return function(module, params, images)

  run = jax.jit(
    spread, static_argnums=0, out_shardings=NamedSharding(mesh, P())
  )

  def batches(images):
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
