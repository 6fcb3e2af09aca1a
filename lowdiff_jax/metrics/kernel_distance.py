"""The kernel distance between sets of features; KID with Inception's."""

import numpy as np

from lowdiff_jax.types import UserError

SUBSETS, SUBSET_SIZE, SEED = 100, 1000, 2020
PROTOCOL = (
  f"mean of the unbiased estimates of {SUBSETS} pairs of subsets of "
  f"{SUBSET_SIZE} (or all, if fewer), polynomial kernel of degree 3"
)


def kernel_distance(
  features: np.ndarray,
  reference: np.ndarray,
  subsets: int = SUBSETS,
  subset_size: int = SUBSET_SIZE,
) -> float:
  """The unbiased estimate of MMD^2 with the kernel (x y / D + 1)^3.

  KID (arXiv 1801.01401, section 4). Unlike the Frechet distance, it is unbiased
  for any number of images. The subsets are those of torch-fidelity.

  Args:
    features: [N,D].
    reference: [M,D].
    subsets: number of pairs of subsets to average over.
    subset_size: images in each, or all if there are fewer.

  Returns:
    The distance; it may be slightly negative.

  Raises:
    UserError: fewer than two images.
  """
  size = min(subset_size, len(features), len(reference))
  if size < 2:
    raise UserError(f"a kernel distance needs at least 2 images, not {size}")
  rng, distances = np.random.RandomState(SEED), []
  for _ in range(subsets):
    x, y = (
      of[rng.choice(len(of), size, replace=False)].astype(np.float64)
      for of in (features, reference)
    )
    pairs = size * (size - 1)
    within = sum((_kernel(z, z).sum() - _kernel_trace(z)) for z in (x, y))
    distances.append(within / pairs - 2 * _kernel(x, y).mean())
  return float(np.mean(distances))


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """The matrix of kernel values, [N,M]."""
  return (x @ y.T / x.shape[1] + 1) ** 3


def _kernel_trace(x: np.ndarray) -> float:
  """The trace of _kernel(x, x)."""
  return ((np.square(x).mean(1) + 1) ** 3).sum()
