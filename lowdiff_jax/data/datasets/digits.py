"""The TFDS data set `digits`: 1,797 real handwritten digits of 8x8 pixels.

They are the test set of the UCI "Optical Recognition of Handwritten Digits"
(https://archive.ics.uci.edu/dataset/80), which scikit-learn ships, so preparing
the set needs no network.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image


class Digits(tfds.core.GeneratorBasedBuilder):
  """1,438 images to train on; every fifth image, 359 of them, to test on."""

  VERSION = tfds.core.Version("1.0.0")

  def _info(self) -> tfds.core.DatasetInfo:
    features = tfds.features.FeaturesDict(
      {
        "image": tfds.features.Image(shape=(8, 8, 1)),
        "label": tfds.features.ClassLabel(num_classes=10),
      }
    )
    return tfds.core.DatasetInfo(
      builder=self,
      description=__doc__,
      features=features,
      supervised_keys=("image", "label"),
      homepage="https://archive.ics.uci.edu/dataset/80",
    )

  def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
    del dl_manager
    return {"train": self._examples(False), "test": self._examples(True)}

  def _generate_examples(
    self, test: bool
  ) -> Iterator[tuple[int, dict[str, Any]]]:
    return self._examples(test)

  def _examples(self, test: bool) -> Iterator[tuple[int, dict[str, Any]]]:
    # It takes a second to import, and only preparing the set needs it.
    from sklearn import datasets

    digits = datasets.load_digits()
    # Ink is counted from 0 to 16.
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    for i, (image, label) in enumerate(zip(images, digits.target, strict=True)):
      if (i % 5 == 4) == test:
        # As PIL image: TFDS would encode an array with TensorFlow.
        yield i, {"image": Image.fromarray(image), "label": int(label)}
