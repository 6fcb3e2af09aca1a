"""Precision and recall of generated images against real ones."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lowdiff_jax.types import Array, UserError

NEIGHBOURS = 3
PROTOCOL = f"{NEIGHBOURS} nearest neighbours, distances in float32"
# Rows of the distance matrix in memory at a time.
_ROWS = 500


class PrecisionRecall(NamedTuple):
  """Precision and recall, each in [0, 1]."""

  precision: float
  recall: float


def precision_recall(
  features: np.ndarray, reference: np.ndarray, neighbours: int = NEIGHBOURS
) -> PrecisionRecall:
  """Computes improved precision and recall (arXiv 1904.06991, equation 1).

  The manifold of a set is the union of balls around its features, each with the
  distance to the k-th nearest neighbour as its radius. Precision is the
  fraction of generated images in the manifold of the real ones, recall the
  fraction of real images in the manifold of the generated ones. Distances are
  float32.

  Args:
    features: [N,D] of generated images.
    reference: [M,D] of real images.
    neighbours: k.

  Returns:
    Both.

  Raises:
    UserError: a set has at most k images.
  """
  fewest = min(len(features), len(reference))
  if fewest <= neighbours:
    raise UserError(
      f"precision and recall need more than {neighbours} images, not {fewest}"
    )
  # Centred features lose fewer digits in |x|^2 - 2 x y + |y|^2.
  center = reference.mean(0)
  ours, theirs = jnp.asarray(features - center), jnp.asarray(reference - center)
  return PrecisionRecall(
    _share_inside(ours, theirs, _radii(theirs, neighbours)),
    _share_inside(theirs, ours, _radii(ours, neighbours)),
  )


def _radii(features: Array, neighbours: int) -> np.ndarray:
  """Squared distances [N] to the k-th nearest neighbours."""
  distances = (_distances(rows, features) for rows in _blocks(features))
  # Index 0 is the feature itself. NumPy, as XLA would sort all distances; a
  # copy, as a view would keep the whole block in memory.
  kth = [
    np.partition(np.asarray(block), neighbours)[:, neighbours].copy()
    for block in distances
  ]
  return np.concatenate(kth)[: len(features)]


def _share_inside(features: Array, centers: Array, radii: np.ndarray) -> float:
  """The fraction of features in any ball."""
  # Waiting for each block keeps JAX from allocating all distances at once.
  inside = [
    np.asarray(_inside(rows, centers, radii)) for rows in _blocks(features)
  ]
  return float(np.concatenate(inside)[: len(features)].mean())


def _blocks(features: Array) -> Iterator[Array]:
  """Yields blocks of equal size, padded, so that functions compile once."""
  rows = min(_ROWS, len(features))
  for start in range(0, len(features), rows):
    block = features[start : start + rows]
    yield jnp.pad(block, ((0, rows - len(block)), (0, 0)), mode="edge")


@jax.jit
def _inside(rows: Array, centers: Array, radii: np.ndarray) -> Array:
  """Whether each row is in any ball, [N] bool."""
  return (_distances(rows, centers) <= radii).any(1)


@jax.jit
def _distances(a: Array, b: Array) -> Array:
  """Squared distances |x|^2 - 2 x y + |y|^2, [N,M]."""
  products = jnp.matmul(a, b.T, precision="highest")
  squares = [jnp.square(x).sum(1) for x in (a, b)]
  return jnp.maximum(squares[0][:, None] - 2 * products + squares[1], 0)
