"""Folders and zips of random images, as tests write and read them."""

import json
import zipfile

import numpy as np
from PIL import Image

from lowdiff_jax.data import source

RNG = np.random.default_rng(0)


def write(root, *names, side=8, mode="RGB"):
  """Images of random pixels; name -> what was written."""
  found = {}
  for name in names:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    found[name] = RNG.integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(found[name]).convert(mode).save(path)
  return found


def pack(root, path, *, under=""):
  with zipfile.ZipFile(path, "w") as archive:
    for file in sorted(root.rglob("*")):
      if file.is_file():
        archive.write(file, f"{under}{file.relative_to(root)}")
  return path


def open_set(path, kind="folder", **kwargs):
  kept = path.parent / f"kept_{path.name}"
  return source.open_splits(
    f"{kind}:{path}", resolution=8, data_dir=str(kept), **kwargs
  )


def everything(splits):
  """All images and labels of both splits."""
  batches = [split.read(np.arange(len(split))) for split in splits]
  images = np.concatenate([batch.image for batch in batches])
  return images, np.concatenate([batch.label for batch in batches])


def same_images(ours, written):
  expected = sorted(map(bytes, written.values()))
  return sorted(map(bytes, ours)) == expected


def edm_set(root, labels, **more):
  names = [f"0000{i // 4}/img{i:08d}.png" for i in range(len(labels))]
  written = write(root, *names)
  listed = [[n, label] for n, label in zip(names, labels, strict=True)]
  record = {"labels": listed, **more}
  (root / "dataset.json").write_text(json.dumps(record))
  return written
