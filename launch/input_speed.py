"""How fast the training input is, up to the batch on the devices.

  python -m launch.input_speed [--batch-size B] [--processes P] [--folder PATH]

Three synthetic sets are written and read as training reads them: CIFAR-10 and
FFHQ (uint8 from an .npz, held in memory) and latents of 256x256 images (float16
16x16x32, uncompressed records that are read from their files each time; just
written, they are in the page cache). Printed are, by set,

* images/s and MB/s of `pipeline.batches` and `distributed.global_batch`
  together, and images per second of CPU time (user and system, all threads),
  which does not depend on what else the machine does;
* the CPU time of an image in microseconds, of each part alone: drawing the
  order and handing batches over (a source that reads nothing), reading, and
  copying to the devices.
"""

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from lowdiff_jax import console, distributed
from lowdiff_jax.data import images, pipeline
from lowdiff_jax.data.images import ImagesInMemory
from lowdiff_jax.data.latents.reader import open_latents
from lowdiff_jax.data.latents.shards import Layout
from lowdiff_jax.data.latents.writer import write_latents
from lowdiff_jax.data.source import open_splits
from lowdiff_jax.types import Batch, ImageSource, ImageSpec

LATENT = (16, 16, 32)
SHARDS = 16


class Cost(NamedTuple):
  """Seconds of a batch, on the clock and of the CPU's cores."""

  wall: float
  cpu: float


class ReadsNothing(NamedTuple):
  """A source of `count` images whose batches are their indices."""

  count: int  # type: ignore[assignment]  # It hides tuple.count.
  spec: ImageSpec = ImageSpec(1, 1, 0)
  class_names: tuple[str, ...] = ()

  def __len__(self) -> int:
    """The number of images."""
    return self.count

  def read(self, indices: Any) -> Batch:
    """The indices."""
    return Batch(indices, indices)


def main() -> int:
  """Prints the table; the exit status."""
  args = _arguments()
  console.set_quiet(True)
  mesh = distributed.make_mesh()
  size = distributed.whole_batch(args.batch_size, mesh)
  print(
    f"{args.batches} batches of {size} on {mesh.size} x "
    f"{jax.devices()[0].device_kind}, one of {args.processes} processes; "
    "us: CPU time of an image"
  )
  heads = ("images/s", "MB/s", "images/CPU s", "order us", "read us", "copy us")
  print(f"{'':10}" + "".join(f"{head:>14}" for head in heads))
  with tempfile.TemporaryDirectory(dir=args.folder) as folder:
    for name, make in SETS.items():
      source = make(Path(folder), args.images)
      print(_row(name, source, size, args), flush=True)
  return 0


def _arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--images", type=int, default=16384, help="of each set")
  parser.add_argument(
    "--batch-size", type=int, default=1024, help="of one process"
  )
  parser.add_argument(
    "--processes", type=int, default=1, help="this is the first"
  )
  parser.add_argument("--batches", type=int, default=64)
  parser.add_argument("--folder", help="on the disk to read from")
  return parser.parse_args()


def _row(
  name: str, source: ImageSource, size: int, args: argparse.Namespace
) -> str:
  """A line of the table."""
  mesh, count = distributed.make_mesh(), args.batches
  rng = np.random.default_rng(0)
  picks = rng.integers(0, len(source), (count, size))
  batch = source.read(picks[0])

  def copy(batch: Batch) -> Any:
    return jax.block_until_ready(distributed.global_batch(mesh, batch))

  def in_training(source: ImageSource) -> Callable[[int], Batch]:
    batches = pipeline.batches(
      source,
      batch_size=size * args.processes,
      seed=0,
      process_count=args.processes,
    )
    # What was loaded ahead is not counted.
    list(itertools.islice(batches, 4))
    return lambda _: next(batches)

  loaded = in_training(source)
  whole = _cost(lambda k: copy(loaded(k)), count)
  parts = (
    _cost(in_training(ReadsNothing(len(source))), count),
    _cost(lambda k: source.read(picks[k]), count),
    _cost(lambda _: copy(batch), count),
  )
  megabytes = sum(x.nbytes for x in jax.tree.leaves(batch)) / 1e6
  numbers = [size / whole.wall, megabytes / whole.wall, size / whole.cpu]
  numbers += [1e6 * part.cpu / size for part in parts]
  return f"{name:10}" + "".join(
    f"{number:14,.{0 if number > 100 else 1}f}" for number in numbers
  )


def _cost(function: Callable[[int], Any], count: int) -> Cost:
  """The mean over function(0), ..., function(count - 1)."""
  wall, cpu = time.perf_counter(), time.process_time()
  for k in range(count):
    function(k)
  seconds = time.perf_counter() - wall, time.process_time() - cpu
  return Cost(*(passed / count for passed in seconds))


def _pixels(folder: Path, count: int, side: int) -> ImageSource:
  """Images of noise, [side,side,3] uint8, in memory."""
  rng = np.random.default_rng(0)
  path = folder / f"{side}.npz"
  np.savez(path, images=rng.integers(0, 256, (count, side, side, 3), np.uint8))
  return open_splits(f"npz:{path}", resolution=side)[0]


def _latents(folder: Path, count: int) -> ImageSource:
  """Latents of noise, in files."""
  rng = np.random.default_rng(0)
  pixel = np.zeros((count, 1, 1, 3), np.uint8)
  batch = Batch(pixel, np.zeros(count, np.int32))
  source = ImagesInMemory(ImageSpec(1, 3, 0), (), batch)
  write_latents(
    {"train": source, "test": source},
    lambda pixels, _: (rng.standard_normal((len(pixels), *LATENT)),),
    folder / "latents",
    provenance={},
    layout=Layout(flip=False, shard_images=-(-count // SHARDS)),
    batch_size=256,
  )
  # As if the set were too large to be held in memory.
  limit, images.MEMORY_LIMIT = images.MEMORY_LIMIT, 0
  try:
    return open_latents(folder / "latents")[0]
  finally:
    images.MEMORY_LIMIT = limit


SETS: dict[str, Callable[[Path, int], ImageSource]] = {
  "cifar10": lambda folder, count: _pixels(folder, count, 32),
  "ffhq64": lambda folder, count: _pixels(folder, count, 64),
  "latents": _latents,
}


if __name__ == "__main__":
  sys.exit(main())
