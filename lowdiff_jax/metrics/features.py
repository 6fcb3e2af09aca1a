"""Features of pictures, chunk by chunk, so that no interruption loses much.

A chunk is a whole number of batches: what is computed for a picture does not
depend on where the last run stopped.
"""

import hashlib
import json
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from lowdiff_jax import files
from lowdiff_jax.distributed import agree, is_main
from lowdiff_jax.types import ImageSet

# ImageSet whose features are in one file, about.
CHUNK = 1000
SETTINGS = "settings.json"

# ImageSet [B,H,W,C] uint8 -> features by name, each [B,D].
Extract = Callable[[np.ndarray], Mapping[str, np.ndarray]]
# Features by name, "label" [N] and "seconds" [] among them.
Chunk = Mapping[str, np.ndarray]


class Collected(NamedTuple):
  """Features of all pictures.

  Attributes:
    count: how many pictures.
    chunks: () -> their features, chunk by chunk, in order.
  """

  count: int  # type: ignore[assignment]  # It hides tuple.count.
  chunks: Callable[[], Iterator[Chunk]]

  def column(self, name: str, most: int | None = None) -> np.ndarray:
    """One feature of all pictures, or of `most`, evenly spread; [N,D]."""
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
    """Of making pictures and features; the median, for the first compiles."""
    return float(
      np.median([len(c["label"]) / c["seconds"] for c in self.chunks()])
    )

  def sha256(self) -> str:
    """Of the pictures: the sum of the sums of the chunks."""
    digest = hashlib.sha256()
    for chunk in self.chunks():
      digest.update(chunk["sha256"].tobytes())
    return digest.hexdigest()


def collect(
  pictures: ImageSet,
  extract: Extract,
  folder: Path | None = None,
  settings: Any = None,
) -> Collected:
  """Extracts the features that are not there yet.

  Args:
    pictures: whose features.
    extract: what computes them; called by all processes alike.
    folder: where to keep them; None for memory.
    settings: all that the features depend on, as JSON. What a folder holds of
      others is removed.

  Returns:
    The features; on process 0, if there is a folder.
  """
  size = -(-CHUNK // pictures.batch_size) * pictures.batch_size
  starts = range(0, pictures.count, size)
  if folder is None:
    kept = list(_extracted(pictures, extract, starts))
    return Collected(pictures.count, lambda: iter(kept))
  paths = [folder / f"{start:08d}.npz" for start in starts]
  done = 0
  if is_main():
    _claim(folder, settings)
    counts = [min(size, pictures.count - start) for start in starts]
    while done < len(paths) and _count(paths[done]) == counts[done]:
      done += 1
  done = agree(done)
  chunks = _extracted(pictures, extract, starts[done:])
  with tqdm(
    desc=f"features, {folder.stem}",
    total=pictures.count,
    initial=min(done * size, pictures.count),
    unit="img",
    disable=done == len(paths) or not is_main(),
  ) as progress:
    for path, chunk in zip(paths[done:], chunks, strict=True):
      if is_main():
        _save(path, chunk)
      progress.update(len(chunk["label"]))
  return Collected(pictures.count, lambda: _opened(paths))


def _extracted(
  pictures: ImageSet, extract: Extract, starts: range
) -> Iterator[dict[str, np.ndarray]]:
  """A chunk for each start, of which the next begins where it ends."""
  if not starts:
    return
  batches = pictures.read(starts[0])
  for start in starts:
    begin, digest = time.monotonic(), hashlib.sha256()
    parts: list[Mapping[str, np.ndarray]] = []
    labels: list[np.ndarray] = []
    count = min(starts.step, pictures.count - start)
    while sum(map(len, labels)) < count:
      batch = next(batches)
      digest.update(np.ascontiguousarray(batch.image).tobytes())
      parts.append(extract(batch.image))
      labels.append(batch.label)
    yield {
      **{n: np.concatenate([part[n] for part in parts]) for n in parts[0]},
      "label": np.concatenate(labels),
      "sha256": np.frombuffer(digest.digest(), np.uint8),
      "seconds": np.asarray(time.monotonic() - begin),
    }


def _claim(folder: Path, settings: Any) -> None:
  """Empties a folder that was made with other settings."""
  text = json.dumps(settings, indent=1, sort_keys=True)
  path = folder / SETTINGS
  if path.is_file() and path.read_text() == text:
    return
  shutil.rmtree(folder, ignore_errors=True)
  folder.mkdir(parents=True)
  path.write_text(text)


def _save(path: Path, chunk: Chunk) -> None:
  with files.replacing(path) as partial, partial.open("wb") as file:
    arrays: Any = chunk
    np.savez(file, **arrays)


def _opened(paths: Sequence[Path]) -> Iterator[Chunk]:
  """The chunks, whose arrays are read when they are asked for."""
  for path in paths:
    with np.load(path, allow_pickle=False) as file:
      yield file


def _count(path: Path) -> int:
  """ImageSet of a chunk; 0 if it is missing or damaged, by its arrays' CRCs."""
  try:
    with np.load(path, allow_pickle=False) as file:
      return len({name: file[name] for name in file.files}["label"])
  except (OSError, LookupError, ValueError, EOFError, zipfile.BadZipFile):
    return 0
