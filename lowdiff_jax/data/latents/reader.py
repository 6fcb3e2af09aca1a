"""A data set of latents: the images of another data set, encoded.

The folder, which `writer.write_latents` writes, holds

  train-00000-of-00129.array_record ... the records, with test-... beside them;
  train-00000-of-00129.json ... the count, sha256 and sums of each such shard;
  settings.json, what was asked for;
  latents.json, the manifest, written last: without it nothing can be read.

A record holds the latents of one image as float16, lowest resolution first, its
label as int32 and the CRC-32 of both. Where mirror images were asked for,
record 2i of the training split is image i and record 2i + 1 its mirror image.
"""

import dataclasses
import hashlib
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader

from lowdiff_jax.data import images
from lowdiff_jax.data.latents.info import LatentInfo
from lowdiff_jax.types import Batch, ImageSource, ImageSpec, UserError

MANIFEST, SETTINGS = "latents.json", "settings.json"
# Of all these files.
VERSION = 1
# Without them each reader would read ahead, which random access only slows.
READER_OPTIONS = "readahead_buffer_size:0,max_parallelism:0"
AGAIN = "run --mode=encode again with the same config"


def record_type(shapes: Sequence[Sequence[int]]) -> np.dtype:
  """Of a record; the fields "0", "1", ... are its latents of these shapes."""
  latents = [(str(i), "<f2", tuple(shape)) for i, shape in enumerate(shapes)]
  return np.dtype([*latents, ("label", "<i4"), ("crc", "<u4")])


def crc(record: bytes) -> int:
  """The CRC-32 of all of a record before its own."""
  return zlib.crc32(memoryview(record)[:-4])


def open_latents(
  folder: Path,
) -> tuple[ImageSource, ImageSource, LatentInfo]:
  """Opens the latents of a folder.

  Args:
    folder: as `writer.write_latents` left it.

  Returns:
    The splits "train" and "test", and what is known of them. A batch's image
    is [N,r,r,C] float16, or a tuple of these, lowest resolution first, if
    there are several.

  Raises:
    UserError: the folder holds no finished set, or a shard is missing or
      damaged.
  """
  manifest, digest = _manifest(folder)
  shapes = manifest["shapes"]
  spec = ImageSpec(shapes[-1][0], shapes[-1][-1], manifest["num_classes"])
  names = tuple(manifest["class_names"])

  def split(name: str) -> ImageSource:
    shards = manifest["splits"][name]["shards"]
    # A set that is read as a whole is checked as a whole.
    whole = sum(shard["bytes"] for shard in shards) <= images.MEMORY_LIMIT
    paths = [_checked(folder, shard, whole) for shard in shards]
    readers = [_reader(path) for path in paths]
    ends = np.cumsum([shard["count"] for shard in shards])
    record = record_type(shapes)
    return images.in_memory(Latents(spec, names, paths, readers, ends, record))

  info = LatentInfo(
    np.array(manifest["mean"], np.float32),
    np.array(manifest["std"], np.float32),
    tuple(shape[0] for shape in shapes),
    manifest["provenance"],
    digest,
  )
  return split("train"), split("test"), info


def _checked(folder: Path, shard: dict[str, Any], whole: bool) -> Path:
  """The path of a shard, once its size, and its sum if asked, are right."""
  path = folder / shard["file"]
  size = path.stat().st_size if path.is_file() else 0
  if size != shard["bytes"]:
    raise UserError(
      f"{path} has {size} bytes instead of {shard['bytes']}; {AGAIN}, which "
      "rewrites it"
    )
  if whole:
    with path.open("rb") as file:
      digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != shard["sha256"]:
      raise UserError(
        f"{path} is damaged (its sha256 is another); {AGAIN}, which rewrites it"
      )
  return path


def _manifest(folder: Path) -> tuple[dict[str, Any], str]:
  """The manifest of a folder and its SHA-256."""
  path = folder / MANIFEST
  if not path.is_file():
    if (folder / SETTINGS).is_file():
      raise UserError(f"the encoding in {folder} was not finished: {AGAIN}")
    raise UserError(
      f"no latents in {folder}: run --mode=encode with the same config"
    )
  text = path.read_bytes()
  try:
    manifest = json.loads(text)
    version = manifest["version"]
    lacking = {"mean", "std", "shapes", "splits", "provenance"} - {*manifest}
  except (ValueError, LookupError, TypeError) as error:
    raise UserError(f"{path} is damaged; {AGAIN}") from error
  if version != VERSION:
    raise UserError(
      f"{path} is of version {version}, this program reads {VERSION}: remove "
      f"{folder} and {AGAIN}"
    )
  if lacking:
    raise UserError(f"{path} lacks {', '.join(sorted(lacking))}; {AGAIN}")
  return manifest, hashlib.sha256(text).hexdigest()


@dataclasses.dataclass(frozen=True)
class Latents:
  """One split, read from its shards; a `types.ImageSource`.

  Any number of threads may read.

  Attributes:
    spec: resolution and channels of the largest latents, number of classes.
    class_names: one for each class.
    paths: of the shards.
    readers: of the shards.
    ends: [shards], the number of records up to the end of each.
    record: what it consists of, see `record_type`.
  """

  spec: ImageSpec
  class_names: tuple[str, ...]
  paths: list[Path]
  readers: list[ArrayRecordReader]
  ends: np.ndarray
  record: np.dtype

  def __len__(self) -> int:
    return int(self.ends[-1])

  def read(self, indices: Sequence[int] | np.ndarray) -> Batch:
    """The latents and labels of `indices`; UserError if one is damaged."""
    picks = np.asarray(indices)
    shards = np.searchsorted(self.ends, picks, side="right")
    records = np.empty(len(picks), self.record)
    for shard in np.unique(shards):
      (there,) = np.nonzero(shards == shard)
      begin = self.ends[shard - 1] if shard else 0
      records[there] = self._read_shard(shard, picks[there] - begin)
    *latents, label = (
      np.ascontiguousarray(records[field])
      for field in (self.record.names or ())[:-1]
    )
    return Batch(latents[0] if len(latents) == 1 else tuple(latents), label)

  def _read_shard(self, shard: int, positions: np.ndarray) -> np.ndarray:
    """[N] of `record`."""
    path = self.paths[shard]
    try:
      records = self.readers[shard].read(positions.tolist())
    except RuntimeError as error:
      raise _damaged(path, str(error).split("\n")[0]) from error
    array = np.frombuffer(b"".join(records), self.record)
    for i, record in enumerate(records):
      if crc(record) != array["crc"][i]:
        raise _damaged(path, f"the CRC of record {positions[i]} is wrong")
    return array


def _reader(path: Path) -> ArrayRecordReader:
  try:
    return ArrayRecordReader(
      str(path), READER_OPTIONS, file_reader_buffer_size=1 << 15
    )
  except RuntimeError as error:
    raise _damaged(path, str(error).split("\n")[0]) from error


def _damaged(path: Path, reason: str) -> UserError:
  return UserError(f"{path} is damaged ({reason}); {AGAIN}, which rewrites it")
