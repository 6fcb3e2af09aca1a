"""Laws of the kernel distance."""

import numpy as np
import pytest

from lowdiff_jax.metrics.kernel_distance import kernel_distance
from lowdiff_jax.types import UserError

RNG = np.random.default_rng(0)


def test_is_the_unbiased_estimate_term_by_term():
  x, y = RNG.standard_normal((2, 6, 4))

  def k(a, b):
    return (a @ b / 4 + 1) ** 3

  expected = 0
  for i in range(6):
    for j in range(6):
      if i != j:
        expected += (k(x[i], x[j]) + k(y[i], y[j])) / 30
      expected -= 2 * k(x[i], y[j]) / 36
  # Every subset is the whole.
  np.testing.assert_allclose(kernel_distance(x, y, 3), expected)


def test_is_zero_on_average_for_any_number_of_images():
  """The Frechet distance of the same sets is far from it."""
  for count in (20, 100):
    found = [
      kernel_distance(*RNG.standard_normal((2, count, 10)), 1)
      for _ in range(400)
    ]
    assert abs(np.mean(found)) < 4 * np.std(found) / 20


def test_grows_with_what_is_different():
  x, y = RNG.standard_normal((2, 300, 10))
  found = [kernel_distance(x, y + shift, 10, 100) for shift in (0, 0.5, 1)]
  assert found[0] < 0.1 * found[1] and found[1] < found[2]


def test_one_image_is_too_few():
  with pytest.raises(UserError, match="at least 2 images"):
    kernel_distance(np.zeros((1, 4)), np.zeros((9, 4)))
