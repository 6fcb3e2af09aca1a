"""The models of the package: they load, and make what they were trained on."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

import lowdiff_jax as ld
from lowdiff_jax.experiment import named_models

NAMES = ("cifar10", "cifar10-baseline", "digits", "digits-baseline")
LARGEST = 12e6  # bytes, together


def test_they_are_small_and_have_cards():
  assert tuple(named_models.names()) == NAMES
  files = [path for path in named_models.box().rglob("*") if path.is_file()]
  assert sum(path.stat().st_size for path in files) < LARGEST
  for name in NAMES:
    card = (named_models.box() / name / "README.md").read_text()
    assert card.startswith("---\n") and "| images seen in training |" in card


@pytest.mark.parametrize("name", ["cifar10", "digits"])
def test_a_baseline_is_trained_as_its_cascade(name):
  cascade, baseline = ld.load(name), ld.load(named_models.beside(name))
  assert cascade.config.cascade and not baseline.config.cascade
  assert cascade.images_seen == baseline.images_seen
  for section in ("model", "optimizer", "ema", "data", "baseline"):
    assert cascade.config[section] == baseline.config[section], section
  assert cascade.spec == baseline.spec


@pytest.mark.parametrize("name", ["digits", "digits-baseline"])
def test_digits_are_of_their_class(name):
  data, labels = load_digits(return_X_y=True)
  images = ld.load(name).sample(100)
  # The set's pixels are 0 to 16.
  pixels = images[..., 0].reshape(100, -1) * (16 / 255)
  found = KNeighborsClassifier(3).fit(data, labels).predict(pixels)
  assert np.mean(found == images.labels) > 0.85


def test_photos_have_the_colours_of_their_class():
  """Ships are on blue, deer are in the grass."""
  model = ld.load("cifar10")
  ships, deer = (
    np.mean(model.sample(16, label=label), axis=(0, 1, 2)) for label in (8, 4)
  )
  assert ships[2] > ships[0]
  assert ships[2] - ships[1] > deer[2] - deer[1] + 10
  # CIFAR-10's mean is 125, 123, 114.
  assert np.all(abs((ships + deer) / 2 - 120) < 40)
