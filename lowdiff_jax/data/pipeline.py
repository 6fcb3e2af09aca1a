"""From a source of images to the batches of step 0, 1, 2, ..."""

from collections.abc import Iterator

import grain

from lowdiff_jax.interfaces import Batch, ImageSource


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
  slab = slice(process_index * size, (process_index + 1) * size)
  order = grain.MapDataset.range(len(source)).seed(seed).shuffle().repeat()
  dataset = order.batch(batch_size).map(lambda picks: source.read(picks[slab]))
  options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)
  return iter(dataset[start:].to_iter_dataset(options))
