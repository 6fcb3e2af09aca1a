"""Scores in features learned from the data set itself, for small images.

They are not FID and never called so: the features are the hidden layer of a
small classifier of the real training images (or, without classes, principal
components of their pixels), so scores compare only within one data set.
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

# Larger images are shrunk to this side: the scorer is a small one.
MAX_SIDE = 16
# The classifier stops after so many images, converged or not.
MAX_SEEN = 500_000


def own_evaluator(train: Batch, test: Batch, num_classes: int) -> Evaluator:
  """Fits the features on real images.

  Args:
    train: real training images, the reference set of the distance.
    test: real held-out images, whose own scores are the floor.
    num_classes: 0 for images without labels.

  Returns:
    An evaluator with the figures "frechet_distance" (to the training images)
    and, with classes, "label_agreement" (share of images that the classifier
    assigns to the class they were generated for).
  """
  fit = _fit_classifier if num_classes > 1 else _fit_components
  describe, classify, name = fit(_pixels(train.image), train.label)
  reference = statistics([describe(_pixels(train.image))])

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
  return make_evaluator(
    extract,
    measure,
    held_out=measure(collect(held_out, extract)),
    protocol={
      "features": name,
      "reference": f"{len(train.label)} training images",
      "held_out": f"{count} held-out images",
    },
    shape=train.image.shape[1:],
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


# (pixels -> features, pixels -> classes or None, the features' name)
_Features = tuple[
  Callable[[np.ndarray], np.ndarray],
  Callable[[np.ndarray], np.ndarray] | None,
  str,
]


# The matrices are so small that several threads wait for each other more than
# they multiply: where the cores are busy, a fit takes thirty times as long.
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
