"""From a source of images to batches: of training, or just all in order."""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grain
import jax
import numpy as np
from jax.experimental import multihost_utils

from lowdiff_jax.data.images import THREADS
from lowdiff_jax.types import Batch, ImageSet, ImageSource


def batches(
  source: ImageSource,
  *,
  batch_size: int,
  seed: int,
  start: int = 0,
  process_index: int = 0,
  process_count: int = 1,
) -> Iterator[Batch]:
  """Endless batches; each epoch is a permutation of its own.

  Batch k is a function of (seed, k) alone, so the number of steps taken is the
  whole position in the data. All processes draw the same order, and each reads
  its slab of every batch: how many there are does not change what is trained.

  Args:
    source: the images.
    batch_size: of all processes together; a multiple of process_count.
    seed: of the order.
    start: the first batch to return.
    process_index: which slab to read.
    process_count: how many slabs there are.

  Returns:
    An iterator over batches of batch_size / process_count images, which are
    read ahead in threads.
  """
  size = batch_size // process_count
  # Beyond its end comes the next epoch, in an order of its own.
  order = grain.MapDataset.range(len(source)).seed(seed).shuffle()

  def load(batch: int) -> Batch:
    first = batch * batch_size + process_index * size
    picks = [order[i] for i in range(first, first + size)]
    return source.read(np.array(picks))

  return in_threads(load, range(start, sys.maxsize), threads=2)


def in_order(
  read: Callable[[np.ndarray], Batch], picks: np.ndarray, batch_size: int
) -> ImageSet:
  """Chosen images, one after the other, read in threads.

  Of several processes each reads an equal part of every batch, and all get all
  of it: they have to iterate over the images together.

  Args:
    read: picks -> their images.
    picks: [N] which ones.
    batch_size: in which to return them.

  Returns:
    The images.
  """
  index, processes = jax.process_index(), jax.process_count()

  def load(first: int) -> tuple[Batch, int]:
    part = picks[first : first + batch_size]
    size = -(-len(part) // processes)
    # The last one is repeated, so that the parts are of one size.
    padded = np.pad(part, (0, processes * size - len(part)), "edge")
    return read(padded[index * size : (index + 1) * size]), len(part)

  def batches(start: int) -> Iterator[Batch]:
    loaded = in_threads(load, range(start, len(picks), batch_size))
    for batch, count in loaded:
      if processes > 1:
        batch = multihost_utils.process_allgather(batch, tiled=True)
      yield jax.tree.map(lambda x, n=count: x[:n], batch)

  return ImageSet(len(picks), batch_size, batches)


def in_threads(
  load: Callable[[int], Any], numbers: Sequence[int], threads: int = THREADS
) -> Iterator[Any]:
  """load(number) of each number, in order; 2 * threads are loaded ahead."""
  if not numbers:
    return iter(())
  options = grain.ReadOptions(
    num_threads=threads, prefetch_buffer_size=2 * threads
  )
  dataset = grain.MapDataset.source(numbers).map(load)
  return iter(dataset.to_iter_dataset(options))
