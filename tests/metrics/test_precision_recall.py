"""Laws of precision and recall."""

import numpy as np
import pytest

from lowdiff_jax.metrics import precision_recall as module
from lowdiff_jax.metrics.precision_recall import precision_recall
from lowdiff_jax.types import UserError

RNG = np.random.default_rng(0)


def by_hand(features, reference, k):
  """Share of the features in a ball of the reference."""
  balls = np.sort(np.linalg.norm(reference[:, None] - reference, axis=-1))[:, k]
  distances = np.linalg.norm(features[:, None] - reference, axis=-1)
  return (distances <= balls).any(1).mean()


@pytest.mark.parametrize("rows", [7, 500])
def test_is_what_the_definition_says(rows, monkeypatch):
  """Whatever the number of rows at a time."""
  monkeypatch.setattr(module, "_ROWS", rows)
  ours = RNG.standard_normal((60, 5)).astype(np.float32)
  theirs = 1.3 * RNG.standard_normal((45, 5)).astype(np.float32) + 0.9
  found = precision_recall(ours, theirs)
  expected = by_hand(ours, theirs, 3), by_hand(theirs, ours, 3)
  assert min(expected) > 0 and max(expected) < 1
  np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_of_the_same_and_of_distant_sets():
  ours = RNG.standard_normal((50, 5)).astype(np.float32)
  assert precision_recall(ours, ours) == (1, 1)
  assert precision_recall(ours, ours + 100) == (0, 0)


def test_few_modes_are_precise_and_recall_little():
  reference = RNG.standard_normal((300, 2)).astype(np.float32)
  found = precision_recall(0.05 * reference[:100], reference)
  assert found.precision == 1 and found.recall < 0.1


def test_three_images_are_too_few():
  with pytest.raises(UserError, match="more than 3 images, not 3"):
    precision_recall(np.zeros((3, 4)), np.zeros((9, 4)))
