"""Laws of the Frechet distance and of the scores built on it."""

import numpy as np
import pytest
from scipy import linalg
from sklearn import datasets

from lowdiff_jax.evaluate import features
from lowdiff_jax.evaluate.frechet import frechet_distance, statistics
from lowdiff_jax.interfaces import Batch, UserError

RNG = np.random.default_rng(0)


def random_statistics(size, count):
  mix = RNG.standard_normal((size, size))
  return statistics(RNG.standard_normal((count, size)) @ mix + RNG.random(size))


def test_of_itself_is_zero_and_symmetric():
  a, b = random_statistics(20, 100), random_statistics(20, 100)
  assert abs(frechet_distance(a, a)) < 1e-8
  np.testing.assert_allclose(frechet_distance(a, b), frechet_distance(b, a))


def test_closed_form_of_axis_aligned_gaussians():
  mean_a, mean_b = RNG.random(5), RNG.random(5)
  std_a, std_b = RNG.random(5), RNG.random(5)
  expected = ((mean_a - mean_b) ** 2 + (std_a - std_b) ** 2).sum()
  ours = frechet_distance(
    (mean_a, np.diag(std_a**2)), (mean_b, np.diag(std_b**2))
  )
  np.testing.assert_allclose(ours, expected)


@pytest.mark.parametrize("count", [10, 200])
def test_equals_the_matrix_square_root(count):
  """With fewer images than features as well."""
  a, b = random_statistics(20, count), random_statistics(20, 200)
  root = linalg.sqrtm(a[1] @ b[1]).real
  expected = ((a[0] - b[0]) ** 2).sum() + np.trace(a[1] + b[1] - 2 * root)
  np.testing.assert_allclose(frechet_distance(a, b), expected, rtol=1e-4)


def test_one_image_is_too_few():
  with pytest.raises(UserError, match="at least 2 images"):
    statistics(np.zeros((1, 4)))


@pytest.mark.parametrize("classes", [10, 0])
def test_scores_tell_real_from_noise_and_right_from_wrong(classes):
  digits = datasets.load_digits()
  images = np.round(digits.images * 255 / 16).astype(np.uint8)[..., None]
  batch = Batch(images, digits.target.astype(np.int32))
  train, test = (Batch(*(x[i::2] for x in batch)) for i in range(2))
  evaluate = features.make_evaluator(train, test, classes)
  real = evaluate([test])
  assert real.values == real.reference
  same = evaluate([train]).values["frechet_distance"]
  noise = RNG.permuted(test.image.reshape(len(test.label), -1), axis=1)
  noisy = evaluate([Batch(noise.reshape(test.image.shape), test.label)])
  distance = real.values["frechet_distance"]
  halves = [Batch(*(x[i::2] for x in test)) for i in range(2)]
  np.testing.assert_allclose(
    evaluate(halves).values["frechet_distance"], distance, rtol=1e-4
  )
  assert abs(same) < 1e-6 < distance < 0.1 * noisy.values["frechet_distance"]
  if classes:
    assert real.values["label_agreement"] > 0.95
    wrong = evaluate([Batch(test.image, (test.label + 1) % 10)])
    assert wrong.values["label_agreement"] < 0.05


def test_large_coloured_images_are_shrunk_for_the_scorer():
  images = RNG.integers(0, 256, (20, 32, 32, 3), np.uint8)
  batch = Batch(images, np.arange(20, dtype=np.int32) % 2)
  score = features.make_evaluator(batch, batch, 2)([batch])
  assert abs(score.values["frechet_distance"]) < 1e-4
