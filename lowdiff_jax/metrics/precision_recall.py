"""Precision and recall of generated images against real ones."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lowdiff_jax.types import Array, UserError

NEIGHBOURS = 3
PROTOCOL = f"{NEIGHBOURS} nearest neighbours, distances in float32"
# Distances in memory at a time: rows of them.
_ROWS = 500


class PrecisionRecall(NamedTuple):
  """Shares, 0 to 1."""

  precision: float
  recall: float


def precision_recall(
  features: np.ndarray, reference: np.ndarray, neighbours: int = NEIGHBOURS
) -> PrecisionRecall:
  """Which share of each set lies in the manifold of the other.

  Kynkäänniemi et al. (arXiv 1904.06991, equation 1): the manifold of a set is
  the union of balls around its features that reach to their k-th neighbours.
  Precision is the share of generated images in the real manifold, recall that
  of real images in the generated one. Distances are computed in float32, a few
  rows at a time.

  Args:
    features: [N,D] of generated images.
    reference: [M,D] of real images.
    neighbours: k.

  Returns:
    Both.

  Raises:
    UserError: a set has no k-th neighbours.
  """
  fewest = min(len(features), len(reference))
  if fewest <= neighbours:
    raise UserError(
      f"precision and recall need more than {neighbours} images, not {fewest}"
    )
  # Distances do not change, and lose fewer digits.
  center = reference.mean(0)
  ours, theirs = jnp.asarray(features - center), jnp.asarray(reference - center)
  return PrecisionRecall(
    _share_inside(ours, theirs, _radii(theirs, neighbours)),
    _share_inside(theirs, ours, _radii(ours, neighbours)),
  )


def _radii(features: Array, neighbours: int) -> np.ndarray:
  """Squared distances [N] to the k-th neighbours."""
  distances = (_distances(rows, features) for rows in _blocks(features))
  # The nearest of all is the feature itself. XLA would sort all distances; a
  # view would keep them.
  kth = [
    np.partition(np.asarray(block), neighbours)[:, neighbours].copy()
    for block in distances
  ]
  return np.concatenate(kth)[: len(features)]


def _share_inside(features: Array, centers: Array, radii: np.ndarray) -> float:
  """Of the features, which share is in a ball."""
  # Each is waited for: JAX would have all distances in memory at a time.
  inside = [
    np.asarray(_inside(rows, centers, radii)) for rows in _blocks(features)
  ]
  return float(np.concatenate(inside)[: len(features)].mean())


def _blocks(features: Array) -> Iterator[Array]:
  """Rows of one number, so that a function compiles once."""
  rows = min(_ROWS, len(features))
  for start in range(0, len(features), rows):
    block = features[start : start + rows]
    yield jnp.pad(block, ((0, rows - len(block)), (0, 0)), mode="edge")


@jax.jit
def _inside(rows: Array, centers: Array, radii: np.ndarray) -> Array:
  return (_distances(rows, centers) <= radii).any(1)


@jax.jit
def _distances(a: Array, b: Array) -> Array:
  """|x|^2 - 2 x y + |y|^2, [N,M]."""
  products = jnp.matmul(a, b.T, precision="highest")
  squares = [jnp.square(x).sum(1) for x in (a, b)]
  return jnp.maximum(squares[0][:, None] - 2 * products + squares[1], 0)
