"""The Frechet distance between sets of features; FID with Inception's."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from lowdiff_jax.types import UserError


class Gaussian(NamedTuple):
  """Mean [D] and covariance [D,D] of a set of features, float64."""

  mean: np.ndarray
  covariance: np.ndarray


def statistics(parts: Iterable[np.ndarray]) -> Gaussian:
  """Mean and covariance (divided by N - 1) of features.

  Args:
    parts: the set in parts [n,D]; sums are float64.

  Returns:
    Both.

  Raises:
    UserError: fewer than two features.
  """
  count = 0
  total = products = np.zeros(())
  for part in parts:
    part = part.astype(np.float64)
    count += len(part)
    total = total + part.sum(0)
    products = products + part.T @ part
  if count < 2:
    raise UserError(f"a covariance needs at least 2 images, not {count}")
  mean = total / count
  covariance = (products - count * np.outer(mean, mean)) / (count - 1)
  return Gaussian(mean, covariance)


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
  """|mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)).

  FID (arXiv 1706.08500, equation 6). tr (S_a S_b)^(1/2) is computed as the
  trace of the symmetric (S_a^(1/2) S_b S_a^(1/2))^(1/2), from eigenvalues in
  float64, which is stable for rank-deficient covariances.

  Args:
    a: mean and covariance of one set.
    b: mean and covariance of the other set.

  Returns:
    The distance, >= 0 to rounding.
  """
  values, vectors = np.linalg.eigh(a.covariance)
  root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
  product = np.linalg.eigvalsh(root @ b.covariance @ root)
  trace = np.trace(a.covariance) + np.trace(b.covariance)
  trace -= 2 * np.sqrt(np.maximum(product, 0)).sum()
  return float(np.square(a.mean - b.mean).sum() + trace)
