"""The Frechet distance between two sets of features."""

import numpy as np

from lowdiff_jax.interfaces import UserError


def statistics(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Mean [D] and covariance [D,D] (divided by N-1) of features [N,D]."""
  count, size = features.shape
  if count < 2:
    raise UserError(f"a covariance needs at least 2 images, not {count}")
  features = features.astype(np.float64)
  return features.mean(0), np.cov(features, rowvar=False).reshape(size, size)


def frechet_distance(
  a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]
) -> float:
  """|mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)).

  FID (arXiv 1706.08500, equation 6). The trace of the root is that of the
  symmetric (S_a^(1/2) S_b S_a^(1/2))^(1/2), so eigenvalues of symmetric
  matrices in float64 do; a rank below the number of features does no harm.

  Args:
    a: mean and covariance of a set.
    b: those of the other.

  Returns:
    The distance, >= 0 to rounding.
  """
  (mean_a, cov_a), (mean_b, cov_b) = a, b
  values, vectors = np.linalg.eigh(cov_a)
  root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
  product = np.linalg.eigvalsh(root @ cov_b @ root)
  trace = np.trace(cov_a) + np.trace(cov_b)
  trace -= 2 * np.sqrt(np.maximum(product, 0)).sum()
  return float(np.square(mean_a - mean_b).sum() + trace)
