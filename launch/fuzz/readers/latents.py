"""Data sets of latents, and the index of a tar."""

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from launch.fuzz.archives import odd_json
from launch.fuzz.damage import damage_file
from launch.fuzz.reader import Reader
from lowdiff_jax.data.datasets import tar
from lowdiff_jax.data.images import ImagesInMemory
from lowdiff_jax.data.latents.reader import open_latents
from lowdiff_jax.data.latents.shards import Layout
from lowdiff_jax.data.latents.writer import write_latents
from lowdiff_jax.types import Batch, ImageSpec


def _splits() -> dict[str, ImagesInMemory]:
  rng = np.random.default_rng(0)

  def split(count: int) -> ImagesInMemory:
    batch = Batch(
      rng.integers(0, 256, (count, 8, 8, 3), np.uint8),
      rng.integers(0, 5, count).astype(np.int32),
    )
    return ImagesInMemory(ImageSpec(8, 3, 5), tuple("abcde"), batch)

  return {"train": split(6), "test": split(3)}


def _encode(images: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, ...]:
  del indices
  return tuple(images[:, ::step, ::step] / 64 - 2 for step in (4, 2))


class Latents(Reader):
  """A set of latents with a damaged file."""

  name = "latents"

  def __init__(self, seeds: Path) -> None:
    super().__init__(seeds)
    self._whole = seeds / "whole"
    self._splits = _splits()
    self._write(self._whole)
    self._expected = [
      s.read(range(len(s))) for s in open_latents(self._whole)[:2]
    ]

  def _write(self, folder: Path) -> None:
    write_latents(
      self._splits,
      _encode,
      folder,
      provenance={"autoencoder": "abc", "seed": 0},
      layout=Layout(flip=False, shard_images=4),
      batch_size=4,
    )

  def make(self, rng: random.Random, folder: Path) -> tuple[Path, bool]:
    """A damaged folder, and whether it is to be encoded again first."""
    root = folder / "set"
    shutil.copytree(self._whole, root)
    path = rng.choice(sorted(root.iterdir()))
    if path.suffix == ".json" and rng.random() < 0.7:
      value = json.loads(path.read_text())
      for _ in range(rng.choice((1, 1, 2))):
        value = odd_json(rng, value) if value else value
      path.write_text(json.dumps(value))
    else:
      damage_file(rng, path, sorted(self._whole.iterdir()))
    return root, rng.random() < 0.4

  def read(self, candidate: tuple[Path, bool]) -> None:
    """Opens and reads it; pixels and labels are those that were written."""
    root, again = candidate
    if again:
      self._write(root)
    train, test, info = open_latents(root)
    assert info.mean.shape == info.std.shape == (train.spec.channels,)
    assert np.isfinite(info.mean).all() and np.isfinite(info.std).all()
    for split, expected in zip((train, test), self._expected, strict=True):
      batch = split.read(range(len(split)))
      assert len(batch.label) == len(expected.label), "records are missing"
      assert (batch.label == expected.label).all()
      for ours, theirs in zip(batch.image, expected.image, strict=True):
        assert np.array_equal(ours, theirs)


class Index(Reader):
  """The index that is kept beside a tar; a wrong one is made again."""

  name = "tar.index"

  def __init__(self, seeds: Path) -> None:
    super().__init__(seeds)
    self._entries = np.zeros(3, tar.ENTRY)
    self._entries["name"] = [b"a", b"b", b"c"]
    self._entries["start"], self._entries["size"] = [0, 10, 20], 10

  def make(self, rng: random.Random, folder: Path) -> Path:
    """A file and a damaged index."""
    path = folder / "images.tar"
    path.write_bytes(bytes(range(30)))
    self._open(path)
    damage_file(rng, folder / "images.tar.index.npz")
    return path

  def _open(self, path: Path) -> Any:
    return tar.open_archive(path, lambda path: self._entries)

  def read(self, candidate: Path) -> None:
    """Opens it; the entries are right."""
    archive = self._open(candidate)
    try:
      assert archive.entries.dtype == tar.ENTRY
      assert np.array_equal(archive.entries, self._entries)
      assert [archive.content(i)[0] for i in range(3)] == [0, 10, 20]
    finally:
      os.close(archive.descriptor)


READERS: tuple[type[Reader], ...] = (Latents, Index)
