"""The TFDS data set `shapes`: 80 drawn images, to try things without data."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image, ImageDraw

SIDE = 64
NAMES = ("disc", "square", "triangle", "ring")


class Shapes(tfds.core.GeneratorBasedBuilder):
  """64 images to train on, 16 to test on: coloured shapes of four classes."""

  VERSION = tfds.core.Version("1.0.0")

  def _info(self) -> tfds.core.DatasetInfo:
    features = tfds.features.FeaturesDict(
      {
        "image": tfds.features.Image(shape=(SIDE, SIDE, 3)),
        "label": tfds.features.ClassLabel(names=NAMES),
      }
    )
    return tfds.core.DatasetInfo(
      builder=self,
      description=__doc__,
      features=features,
      supervised_keys=("image", "label"),
    )

  def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
    del dl_manager
    return {"train": self._examples(0, 64), "test": self._examples(64, 80)}

  def _generate_examples(
    self, first: int, end: int
  ) -> Iterator[tuple[int, dict[str, Any]]]:
    return self._examples(first, end)

  def _examples(
    self, first: int, end: int
  ) -> Iterator[tuple[int, dict[str, Any]]]:
    for i in range(first, end):
      # As PIL image: TFDS would encode an array with TensorFlow.
      yield i, {"image": draw(i), "label": i % len(NAMES)}


def draw(number: int) -> Image.Image:
  """Image `number`: its shape by turns, its place and colours at random."""
  rng = np.random.default_rng(number)
  paper, ink = (tuple(map(int, rng.integers(0, 256, 3))) for _ in range(2))
  picture = Image.new("RGB", (SIDE, SIDE), paper)
  brush = ImageDraw.Draw(picture)
  radius = int(rng.integers(SIDE // 8, SIDE // 3))
  x, y = (int(v) for v in rng.integers(radius, SIDE - radius, 2))
  box = (x - radius, y - radius, x + radius, y + radius)
  shape = NAMES[number % len(NAMES)]
  if shape == "disc":
    brush.ellipse(box, fill=ink)
  elif shape == "square":
    brush.rectangle(box, fill=ink)
  elif shape == "triangle":
    brush.polygon(
      [box[:2], (x + radius, y - radius), (x, y + radius)], fill=ink
    )
  else:
    brush.ellipse(box, outline=ink, width=max(2, radius // 3))
  return picture
