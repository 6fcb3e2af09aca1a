"""The reduction over all images of a source."""

import numpy as np
import pytest

from lowdiff_jax.data.codec import from_uint8
from lowdiff_jax.data.images import Images
from lowdiff_jax.data.scales import measure_scales
from lowdiff_jax.types import ImageSpec

IMAGES = np.random.default_rng(0).integers(0, 256, (23, 8, 8, 3), np.uint8)
# Unlike the others, so that leaving it out would be noticed.
IMAGES[-1] = 255


def run(batch_size):
  read = []

  def decode(i):
    read.append(i)
    return IMAGES[i], 0

  source = Images(ImageSpec(8, 3, 0), (), len(IMAGES), decode)
  scales = measure_scales(
    source,
    (4, 8),
    normalise=from_uint8,
    batch_size=batch_size,
  )
  assert read == list(range(len(IMAGES)))
  return scales


@pytest.mark.parametrize("batch_size", [1, 8, 64])
def test_every_image_counts_once_in_batches_of_any_size(batch_size):
  low, top = run(batch_size)
  x = IMAGES / 127.5 - 1
  mean = x.reshape(23, 4, 2, 4, 2, 3).mean((2, 4))
  rest = x - mean.repeat(2, 1).repeat(2, 2)
  found = [low.sigma_data, top.sigma_data, top.residual]
  expected = [np.sqrt((part**2).mean()) for part in (mean, x, rest)]
  np.testing.assert_allclose(found, expected, rtol=1e-6)
  assert (low.resolution, top.resolution, low.residual) == (4, 8, None)
