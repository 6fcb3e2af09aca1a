"""Data sets in one file: a zip of images with dataset.json, or an npz."""

import io
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from launch.fuzz.archives import npy, odd_json, odd_npy, write_zip
from launch.fuzz.damage import damage_file, damaged
from launch.fuzz.reader import Reader
from launch.fuzz.readers.images import encoded, odd, pixels
from lowdiff_jax.data.source import open_splits

_COUNT = 6


def _read(kind: str, path: Path) -> None:
  splits = open_splits(
    f"{kind}:{path}",
    resolution=8,
    crop="center",
    hold_out=0.1,
    data_dir=str(path.parent / "kept"),
  )
  for split in splits:
    batch = split.read(range(len(split)))
    assert batch.image.shape[1:] == (8, 8, split.spec.channels)
    assert batch.image.dtype == np.uint8
    assert len(batch.label) == len(batch.image)
    classes = split.spec.num_classes
    assert (batch.label < max(classes, 1)).all(), "a label is no class"
    assert (batch.label >= (0 if classes else -1)).all(), "a negative label"


def _damage_whole(rng: random.Random, path: Path) -> None:
  if rng.random() < 0.4:
    damage_file(rng, path)


class Zip(Reader):
  """A zip of images and dataset.json, as EDM and StyleGAN have it."""

  name = "set.zip"

  def make(self, rng: random.Random, folder: Path) -> Path:
    """A zip of which a member, the labels or the zip itself is odd."""
    names = [f"0000{i % 2}/img{i:08d}.png" for i in range(_COUNT)]
    members = {}
    for i, name in enumerate(names):
      file = io.BytesIO()
      Image.fromarray(pixels(i)).save(file, "PNG")
      members[name] = file.getvalue()
    labels: Any = {"labels": [[name, i % 3] for i, name in enumerate(names)]}
    if rng.random() < 0.3:
      kind = rng.choice((None, [0.0, 1.0], -1, 2**31, 10**9, 1.5, True, "a"))
      i = rng.randrange(_COUNT)
      labels["labels"] = None if kind is None else labels["labels"]
      if kind is not None:
        labels["labels"][i][1] = kind
    elif rng.random() < 0.4:
      labels = odd_json(rng, labels)
    text = json.dumps(labels).encode()
    if rng.random() < 0.1:
      text = rng.choice((damaged(rng, text), b"[" * 100_000, b"\xff\xfe", b""))
    if rng.random() < 0.9:
      members["dataset.json"] = text
    if rng.random() < 0.4:
      name = rng.choice(names)
      kind = rng.randrange(4)
      members[name] = (
        (lambda: damaged(rng, members[name])),
        (lambda: odd(rng)),
        (lambda: encoded(rng, rng.choice(("PNG", "JPEG", "GIF", "TIFF")))),
        (lambda: b""),
      )[kind]()
    path = folder / "set.zip"
    write_zip(rng, path, members)
    _damage_whole(rng, path)
    return path

  def read(self, candidate: Path) -> None:
    """Opens the splits and reads them."""
    _read("zip", candidate)


class Npz(Reader):
  """An npz of images [N,H,W,C] uint8 and their labels [N]."""

  name = "set.npz"

  def make(self, rng: random.Random, folder: Path) -> Path:
    """An npz of which an array or the zip itself is odd."""
    array = np.stack([pixels(i) for i in range(_COUNT)])
    label = np.arange(_COUNT) % 3
    members = {f"{rng.choice(('arr_0', 'images'))}.npy": npy(array)}
    if rng.random() < 0.7:
      members["labels.npy"] = npy(label)
    if rng.random() < 0.6:
      name = rng.choice(list(members))
      value = label if name == "labels.npy" else array
      members[name] = odd_npy(rng, value)
    if rng.random() < 0.15:
      wrong = (
        label - 1,
        label * 10**9,
        label[:3],
        label.astype(float),
        label + 7,
      )
      members["labels.npy"] = npy(rng.choice(wrong))
    path = folder / "set.npz"
    write_zip(rng, path, members)
    _damage_whole(rng, path)
    return path

  def read(self, candidate: Path) -> None:
    """Opens the splits and reads them."""
    _read("npz", candidate)


READERS: tuple[type[Reader], ...] = (Zip, Npz)
