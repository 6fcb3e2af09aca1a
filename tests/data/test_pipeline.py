"""Batch k is a function of (seed, k), however many processes read it."""

import itertools

import numpy as np

from lowdiff_jax.data import pipeline
from lowdiff_jax.data.images import Images, ImagesInMemory
from lowdiff_jax.types import Batch, ImageSpec

SPEC = ImageSpec(2, 1, 0)
IMAGES = np.arange(10, dtype=np.uint8)[:, None, None, None].repeat(4, 1)
IN_MEMORY = ImagesInMemory(
  SPEC, (), Batch(IMAGES.reshape(10, 2, 2, 1), np.arange(10, dtype=np.int32))
)


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


def test_processes_read_slabs_of_the_same_batches():
  whole = labels(6, batch_size=4)
  slabs = [
    labels(6, batch_size=4, process_index=i, process_count=2) for i in range(2)
  ]
  np.testing.assert_array_equal(np.concatenate(slabs, axis=1), whole)


def test_images_that_are_decoded_when_read():
  lazy = Images(SPEC, (), 10, lambda i: (IN_MEMORY.batch.image[i], i))
  np.testing.assert_array_equal(labels(4, lazy), labels(4))
  batch = next(pipeline.batches(lazy, batch_size=20, seed=0))
  assert batch.image.shape == (20, 2, 2, 1) and batch.image.dtype == np.uint8
  np.testing.assert_array_equal(batch.image[:, 0, 0, 0], batch.label)
