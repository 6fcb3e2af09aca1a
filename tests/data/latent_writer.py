"""A stand-in for an autoencoder, and a program that writes latents with it.

python -m tests.data.latent_writer FOLDER [RECORD] dies by SIGKILL when it is to
encode that record.
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np

from lowdiff_jax.data.images import ImagesInMemory
from lowdiff_jax.data.latents.shards import Layout
from lowdiff_jax.data.latents.writer import write_latents
from lowdiff_jax.types import Batch, ImageSpec

SETTINGS = {
  "provenance": {"autoencoder": {"sha256": "abc"}, "crop": "adm", "seed": 0},
  "layout": Layout(flip=True, shard_images=4),
  "batch_size": 3,
}


def source(count, seed):
  """Random images of 8x8 in 5 classes."""
  rng = np.random.default_rng(seed)
  batch = Batch(
    rng.integers(0, 256, (count, 8, 8, 3), np.uint8),
    rng.integers(0, 5, count).astype(np.int32),
  )
  return ImagesInMemory(ImageSpec(8, 3, 5), tuple("abcde"), batch)


# 14 images: a last shard that is not full, and batches that are not.
SPLITS = {"train": source(14, 0), "test": source(5, 1)}


def means(images, side):
  """Of blocks, [B,side,side,3]."""
  block = images.shape[1] // side
  blocks = images.reshape(-1, side, block, side, block, 3)
  return blocks.mean((2, 4)) / 64 - 2


def encode(images, indices):
  """Block means at 2x2 and 4x4, with noise that an index decides."""
  noise = [
    np.random.default_rng(int(i)).standard_normal((4, 4, 3)) for i in indices
  ]
  return means(images, 2), means(images, 4) + 0.1 * np.stack(noise)


def write(folder, encode=encode, splits=SPLITS, **changes):
  """Writes latents, some settings of which are changed; returns `folder`."""
  names = changes.keys() & {"flip", "shard_images"}
  layout = SETTINGS["layout"]._replace(**{n: changes.pop(n) for n in names})
  settings = {**SETTINGS, "layout": layout, **changes}
  write_latents(splits, encode, folder, **settings)
  return folder


def contents(folder):
  """File name -> bytes."""
  return {path.name: path.read_bytes() for path in folder.iterdir()}


def main(folder, last=-1):
  def deadly(images, indices):
    if int(last) in indices:
      os.kill(os.getpid(), signal.SIGKILL)
    return encode(images, indices)

  write_latents(SPLITS, deadly, Path(folder), **SETTINGS)


if __name__ == "__main__":
  main(*sys.argv[1:])
