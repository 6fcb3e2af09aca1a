"""Batch k is a function of (seed, k), however many processes read it."""

import itertools

import numpy as np
import pytest

from lowdiff_jax.data import pipeline
from lowdiff_jax.data.images import Images, ImagesInMemory
from lowdiff_jax.types import Batch, ImageSpec

SPEC = ImageSpec(2, 1, 0)
IMAGES = np.arange(10, dtype=np.uint8)[:, None, None, None].repeat(4, 1)
IN_MEMORY = ImagesInMemory(
  SPEC, (), Batch(IMAGES.reshape(10, 2, 2, 1), np.arange(10, dtype=np.int32))
)


class Counting:
  """The images, and of how many at a time somebody asked for them."""

  def __init__(self):
    self.sizes = set()

  def __len__(self):
    return len(IN_MEMORY)

  def read(self, picks):
    self.sizes.add(len(picks))
    return IN_MEMORY.read(picks)


def labels(count, source=IN_MEMORY, **kwargs):
  batches = pipeline.batches(source, **{"batch_size": 5, "seed": 0, **kwargs})
  return np.array([b.label for b in itertools.islice(batches, count)])


def test_epochs_are_permutations_that_differ():
  epochs = labels(8).reshape(4, 10)
  for epoch in epochs:
    assert sorted(epoch) == list(range(10))
  assert len({tuple(epoch) for epoch in epochs}) == 4


def test_seed_decides_the_order():
  np.testing.assert_array_equal(labels(4), labels(4))
  assert (labels(4) != labels(4, seed=1)).any()


def test_start_is_the_position():
  np.testing.assert_array_equal(labels(7)[3:], labels(4, start=3))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_processes_read_their_slabs_of_the_same_batches(count):
  source = Counting()
  slabs = [
    labels(6, source, batch_size=4, process_index=i, process_count=count)
    for i in range(count)
  ]
  whole = labels(6, batch_size=4)
  np.testing.assert_array_equal(np.concatenate(slabs, axis=1), whole)
  assert source.sizes == {4 // count}


def test_images_that_are_decoded_when_read():
  lazy = Images(SPEC, (), 10, lambda i: (IN_MEMORY.batch.image[i], i))
  np.testing.assert_array_equal(labels(4, lazy), labels(4))
  batch = next(pipeline.batches(lazy, batch_size=20, seed=0))
  assert batch.image.shape == (20, 2, 2, 1) and batch.image.dtype == np.uint8
  np.testing.assert_array_equal(batch.image[:, 0, 0, 0], batch.label)
