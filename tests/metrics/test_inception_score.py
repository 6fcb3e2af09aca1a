"""Laws of the Inception Score."""

import numpy as np
import pytest

from lowdiff_jax.metrics.inception_score import inception_score
from lowdiff_jax.types import UserError


def test_of_a_uniform_classifier_is_one():
  np.testing.assert_allclose(inception_score(np.zeros((100, 1008))), (1, 0))


def test_of_a_sure_classifier_is_the_number_of_classes():
  """Sorted by class, too: the splits are of permuted images."""
  for labels in (np.arange(5000) % 7, np.arange(5000) // 715):
    mean, std = inception_score(100 * np.eye(7)[labels])
    np.testing.assert_allclose(mean, 7, rtol=0.01)
    assert std < 0.05


def test_a_bias_of_all_logits_of_an_image_does_not_count():
  logits = np.random.default_rng(0).standard_normal((100, 9))
  shifted = logits + np.arange(100)[:, None]
  np.testing.assert_allclose(inception_score(shifted), inception_score(logits))


def test_fewer_images_than_splits_are_too_few():
  with pytest.raises(UserError, match="at least 10 images, not 9"):
    inception_score(np.zeros((9, 4)))
