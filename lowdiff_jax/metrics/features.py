"""Extracts features of images in chunks, so that interrupted runs can resume.

A chunk is a whole number of batches, so the features of an image do not depend
on where the last run stopped.
"""

import hashlib
import json
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lowdiff_jax import console, files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.distributed import agree, ahead, is_main
from lowdiff_jax.types import AnyArray, ImageSet

# Images per chunk, before rounding up to whole batches.
CHUNK = 1000
SETTINGS = "settings.json"

# Images [B,H,W,C] uint8 -> features by name, each [B,D]; a network's may still
# be computed.
Extract = Callable[[np.ndarray], Mapping[str, AnyArray]]
# Features by name, and "label" [N], "sha256" [32] of the images, "seconds" [].
Chunk = Mapping[str, np.ndarray]


class Collected(NamedTuple):
  """Features of a set of images.

  Attributes:
    count: number of images.
    chunks: () -> their features, chunk by chunk, in order.
  """

  count: int  # type: ignore[assignment]  # It hides tuple.count.
  chunks: Callable[[], Iterator[Chunk]]

  def column(self, name: str, most: int | None = None) -> np.ndarray:
    """A feature [N,D] of all images, or of `most` evenly spaced ones."""
    count = self.count if most is None else min(most, self.count)
    picks = np.arange(count) * self.count // count
    parts, start = [], 0
    for chunk in self.chunks():
      end = start + len(chunk["label"])
      here = picks[(start <= picks) & (picks < end)] - start
      parts.append(chunk[name][here])
      start = end
    return np.concatenate(parts)

  def images_per_second(self) -> float:
    """Median speed of making images and features over the chunks.

    A median, as the first chunk includes compilation.
    """
    return float(
      np.median([len(c["label"]) / c["seconds"] for c in self.chunks()])
    )

  def sha256(self) -> str:
    """SHA-256 of the concatenated SHA-256 of the chunks' images."""
    digest = hashlib.sha256()
    for chunk in self.chunks():
      digest.update(chunk["sha256"].tobytes())
    return digest.hexdigest()


def collect(
  images: ImageSet,
  extract: Extract,
  folder: AnyPath | None = None,
  settings: Any = None,
) -> Collected:
  """Extracts features, except those that the folder already has.

  Args:
    images: the images.
    extract: computes features of a batch; called on all processes.
    folder: where to keep the features; None for memory.
    settings: all that the features depend on, as JSON. A folder with features
      of other settings is emptied.

  Returns:
    The features; with a folder, on process 0 only.
  """
  size = -(-CHUNK // images.batch_size) * images.batch_size
  starts = range(0, images.count, size)
  if folder is None:
    with console.taking(f"collecting features of {images.count} images"):
      kept = list(_extracted(images, extract, starts))
    return Collected(images.count, lambda: iter(kept))
  paths = [folder / f"{start:08d}.npz" for start in starts]
  done = 0
  if is_main():
    _claim(folder, settings)
    counts = [min(size, images.count - start) for start in starts]
    while done < len(paths) and _count(paths[done]) == counts[done]:
      done += 1
  done = agree(done)
  chunks = _extracted(images, extract, starts[done:])
  before = min(done * size, images.count)
  with console.Progress(
    f"features, {folder.stem}", images.count, before
  ) as progress:
    for path, chunk in zip(paths[done:], chunks, strict=True):
      if is_main():
        _save(path, chunk)
      progress.update(len(chunk["label"]))
  return Collected(images.count, lambda: _opened(paths))


def _extracted(
  images: ImageSet, extract: Extract, starts: range
) -> Iterator[dict[str, np.ndarray]]:
  """Yields the chunk of images that begins at each start."""
  if not starts:
    return

  def dispatched() -> Iterator[tuple[np.ndarray, Any, Mapping[str, AnyArray]]]:
    for batch in images.read(starts[0]):
      image = np.ascontiguousarray(batch.image)
      yield image, batch.label, extract(image)

  batches, since = ahead(dispatched()), time.monotonic()
  for start in starts:
    digest = hashlib.sha256()
    parts: list[Mapping[str, np.ndarray]] = []
    labels: list[np.ndarray] = []
    count = min(starts.step, images.count - start)
    while sum(len(part) for part in labels) < count:
      image, label, found = next(batches)
      digest.update(image.data)
      parts.append({name: np.asarray(array) for name, array in found.items()})
      labels.append(np.asarray(label))
    before, since = since, time.monotonic()
    yield {
      **{n: np.concatenate([part[n] for part in parts]) for n in parts[0]},
      "label": np.concatenate(labels),
      "sha256": np.frombuffer(digest.digest(), np.uint8),
      "seconds": np.asarray(since - before),
    }


def _claim(folder: AnyPath, settings: Any) -> None:
  """Empties the folder if its features are of other settings."""
  text = json.dumps(settings, indent=1, sort_keys=True)
  path = folder / SETTINGS
  if path.is_file() and path.read_text() == text:
    return
  files.remove_folder(folder)
  files.make_folder(folder)
  files.write_text(path, text)


def _save(path: AnyPath, chunk: Chunk) -> None:
  with files.replacing(path) as partial, partial.open("wb") as file:
    arrays: dict[str, Any] = dict(chunk)
    np.savez(file, **arrays)


def _opened(paths: Sequence[AnyPath]) -> Iterator[Chunk]:
  """Yields the chunks of files, whose arrays are read on access."""
  for path in paths:
    with path.open("rb") as opened, np.load(opened) as file:
      yield file


def _count(path: AnyPath) -> int:
  """The number of images in a chunk; 0 if it is missing or fails its CRCs."""
  try:
    with path.open("rb") as opened, np.load(opened) as file:
      return len({name: file[name] for name in file.files}["label"])
  except (OSError, LookupError, ValueError, EOFError, zipfile.BadZipFile):
    return 0
