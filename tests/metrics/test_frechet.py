"""Laws of the Frechet distance."""

import numpy as np
import pytest
from scipy import linalg

from lowdiff_jax.metrics.frechet import Gaussian, frechet_distance, statistics
from lowdiff_jax.types import UserError

RNG = np.random.default_rng(0)


def random_features(size, count):
  mix = RNG.standard_normal((size, size))
  return RNG.standard_normal((count, size)) @ mix + RNG.random(size)


def random_statistics(size, count):
  return statistics([random_features(size, count)])


def test_statistics_are_numpy_s_and_do_not_depend_on_the_parts():
  features = random_features(20, 100).astype(np.float32)
  whole = statistics([features])
  np.testing.assert_allclose(whole.mean, features.mean(0, dtype=np.float64))
  covariance = np.cov(features.astype(np.float64), rowvar=False)
  np.testing.assert_allclose(whole.covariance, covariance, atol=1e-10)
  parts = statistics([features[:1], features[1:30], features[30:]])
  np.testing.assert_allclose(parts.covariance, whole.covariance, atol=1e-10)


def test_of_itself_is_zero_and_symmetric():
  a, b = random_statistics(20, 100), random_statistics(20, 100)
  assert abs(frechet_distance(a, a)) < 1e-8
  np.testing.assert_allclose(frechet_distance(a, b), frechet_distance(b, a))


def test_closed_form_of_axis_aligned_gaussians():
  mean_a, mean_b = RNG.random(5), RNG.random(5)
  std_a, std_b = RNG.random(5), RNG.random(5)
  expected = ((mean_a - mean_b) ** 2 + (std_a - std_b) ** 2).sum()
  ours = frechet_distance(
    Gaussian(mean_a, np.diag(std_a**2)), Gaussian(mean_b, np.diag(std_b**2))
  )
  np.testing.assert_allclose(ours, expected)


@pytest.mark.parametrize("count", [10, 200])
def test_equals_the_matrix_square_root(count):
  """With fewer images than features as well."""
  a, b = random_statistics(20, count), random_statistics(20, 200)
  root = linalg.sqrtm(a.covariance @ b.covariance).real
  trace = np.trace(a.covariance + b.covariance - 2 * root)
  expected = ((a.mean - b.mean) ** 2).sum() + trace
  np.testing.assert_allclose(frechet_distance(a, b), expected, rtol=1e-4)


def test_one_image_is_too_few():
  with pytest.raises(UserError, match="at least 2 images"):
    statistics([np.zeros((1, 4))])
