"""The substitute for FID: features of the data set's own."""

import numpy as np
import pytest
from sklearn import datasets

from lowdiff_jax.metrics.own_features import own_evaluator
from lowdiff_jax.types import Batch, ImageSet

RNG = np.random.default_rng(0)


def score(evaluator, *batches):
  """Of some batches, all but the last of the size of the first."""
  count = sum(len(batch.label) for batch in batches)
  images = ImageSet(count, len(batches[0].label), lambda _: iter(batches))
  return evaluator.score(images).values


@pytest.mark.parametrize("classes", [10, 0])
def test_scores_tell_real_from_noise_and_right_from_wrong(classes):
  digits = datasets.load_digits()
  images = np.round(digits.images * 255 / 16).astype(np.uint8)[..., None]
  batch = Batch(images, digits.target.astype(np.int32))
  train, test = (Batch(*(x[i::2] for x in batch)) for i in range(2))
  evaluator = own_evaluator(train, test, classes)
  real = score(evaluator, test)
  assert real == evaluator.held_out
  same = score(evaluator, train)["frechet_distance"]
  noise = RNG.permuted(test.image.reshape(len(test.label), -1), axis=1)
  noisy = Batch(noise.reshape(test.image.shape), test.label)
  distance = real["frechet_distance"]
  halves = [Batch(*(x[i::2] for x in test)) for i in range(2)]
  np.testing.assert_allclose(
    score(evaluator, *halves)["frechet_distance"], distance, rtol=1e-4
  )
  assert abs(same) < 1e-6 < distance
  assert distance < 0.1 * score(evaluator, noisy)["frechet_distance"]
  if classes:
    assert real["label_agreement"] > 0.95
    wrong = Batch(test.image, (test.label + 1) % 10)
    assert score(evaluator, wrong)["label_agreement"] < 0.05
    unlabelled = Batch(test.image, np.full(len(test.label), -1, np.int32))
    assert score(evaluator, unlabelled).keys() == {"frechet_distance"}


def test_large_coloured_images_are_shrunk_for_the_scorer():
  images = RNG.integers(0, 256, (20, 32, 32, 3), np.uint8)
  batch = Batch(images, np.arange(20, dtype=np.int32) % 2)
  values = score(own_evaluator(batch, batch, 2), batch)
  assert abs(values["frechet_distance"]) < 1e-4
