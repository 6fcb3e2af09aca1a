"""The crop of ADM, as for ImageNet."""

import io

import numpy as np
import pytest
from PIL import Image

from lowdiff_jax.data import images
from lowdiff_jax.types import UserError
from tests.data.test_imagenet import picture


@pytest.mark.parametrize(
  ("size", "halved", "shrunk", "corner"),
  [
    ((8, 8), (8, 8), (8, 8), (0, 0)),
    ((64, 32), (16, 8), (16, 8), (4, 0)),
    ((15, 12), (15, 12), (10, 8), (1, 0)),
    ((36, 60), (9, 15), (8, 13), (0, 2)),
    ((6, 7), (6, 7), (8, 9), (0, 0)),
  ],
)
def test_crop_of_adm(size, halved, shrunk, corner):
  """Areas are averaged, then a bicubic filter does what is left."""
  image = Image.open(io.BytesIO(picture(0, size)))
  expected, (width, height) = np.asarray(image), size
  while (width, height) != halved:
    width, height = width // 2, height // 2
    blocks = expected.reshape(height, 2, width, 2, 3)
    expected = np.round(blocks.mean((1, 3))).astype(np.uint8)
  if halved != shrunk:
    resized = Image.fromarray(expected).resize(shrunk, Image.Resampling.BICUBIC)
    expected = np.asarray(resized)
  left, top = corner
  square = images.fit(image, 8, "adm", "a picture", enlarge=True)
  # Pillow also rounds between rows and columns.
  np.testing.assert_allclose(
    np.asarray(square, int), expected[top : top + 8, left : left + 8], atol=2
  )


def test_crop_of_adm_does_not_enlarge_unasked():
  image = Image.new("RGB", (20, 7))
  with pytest.raises(
    UserError, match=r"a picture is 20x7, smaller than .* 8x8"
  ):
    images.fit(image, 8, "adm", "a picture")
