"""Metrics in features learned from the data set itself, for small images.

These are not FID: the features are the hidden layer of a small classifier of
the real training images (without classes, principal components of their
pixels), so metrics are comparable only within one data set.
"""

import warnings
from collections.abc import Callable

import numpy as np
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from lowdiff_jax.metrics.compute import make_evaluator
from lowdiff_jax.metrics.features import Collected, collect
from lowdiff_jax.metrics.frechet import frechet_distance, statistics
from lowdiff_jax.types import Batch, Evaluator, ImageSet

# Larger images are downsampled to this side, for a fast classifier.
MAX_SIDE = 16
# Images that the classifier is trained on at most, over all epochs.
MAX_SEEN = 500_000


def own_evaluator(train: Batch, test: Batch, num_classes: int) -> Evaluator:
  """Fits the features on real images.

  Args:
    train: real training images, the reference of the distance.
    test: real held-out images.
    num_classes: 0 for images without labels.

  Returns:
    An evaluator with the metrics "frechet_distance" (to the training images)
    and, with classes, "label_agreement" (fraction of images that the classifier
    assigns to the class for which they were generated).
  """
  fit = _fit_classifier if num_classes > 1 else _fit_components
  real = np.asarray(train.image)
  describe, classify, name = fit(_pixels(real), np.asarray(train.label))
  reference = statistics([describe(_pixels(real))])

  def extract(images: np.ndarray) -> dict[str, np.ndarray]:
    pixels = _pixels(images)
    found = {"own": describe(pixels)}
    if classify is not None:
      found["class"] = classify(pixels)
    return found

  def measure(collected: Collected) -> dict[str, float]:
    ours = statistics(chunk["own"] for chunk in collected.chunks())
    values = {"frechet_distance": frechet_distance(reference, ours)}
    labels = collected.column("label")
    if classify is not None and (labels >= 0).all():
      agreed = collected.column("class") == labels
      values["label_agreement"] = float(agreed.mean())
    return values

  count = len(test.label)
  held_out = ImageSet(count, count, lambda start: iter([test]))
  height, width, channels = real.shape[1:]
  return make_evaluator(
    extract,
    measure,
    held_out=measure(collect(held_out, extract)),
    protocol={
      "features": name,
      "reference": f"{len(train.label)} training images",
      "held_out": f"{count} held-out images",
    },
    shape=(height, width, channels),
  )


def _pixels(images: np.ndarray) -> np.ndarray:
  """[N, side * side * C] float64 in [0, 1]."""
  side = min(images.shape[1], MAX_SIDE)
  if side < images.shape[1]:
    size, box = (side, side), Image.Resampling.BOX
    images = np.stack(
      [
        np.asarray(Image.fromarray(i.squeeze()).resize(size, box))
        for i in images
      ]
    )
  return images.reshape(len(images), -1) / 255.0


# (pixels -> features, pixels -> classes or None, name of the features)
_Features = tuple[
  Callable[[np.ndarray], np.ndarray],
  Callable[[np.ndarray], np.ndarray] | None,
  str,
]


# On busy cores several threads make a fit up to thirty times slower: the
# matrices are too small for them.
@threadpool_limits.wrap(limits=1, user_api="blas")
def _fit_classifier(pixels: np.ndarray, labels: np.ndarray) -> _Features:
  epochs = min(1000, MAX_SEEN // len(labels))
  network = MLPClassifier((64,), alpha=1e-3, max_iter=epochs, random_state=0)
  with warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)
    network.fit(pixels, labels)

  def describe(pixels: np.ndarray) -> np.ndarray:
    return np.maximum(pixels @ network.coefs_[0] + network.intercepts_[0], 0)

  return describe, network.predict, "64 hidden units of scikit-learn's MLP"


def _fit_components(pixels: np.ndarray, labels: np.ndarray) -> _Features:
  del labels
  count = min(64, *pixels.shape)
  components = PCA(count, random_state=0).fit(pixels)
  return components.transform, None, f"{count} principal components of pixels"
