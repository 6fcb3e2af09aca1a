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
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader

from lowdiff_jax import files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.data import images
from lowdiff_jax.data.latents.info import LatentInfo
from lowdiff_jax.reading import read_json, reading
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
  folder: AnyPath,
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
    threads = images.reading_threads()  # Shards in a bucket are fetched.
    paths = list(threads.map(lambda one: _checked(folder, one, whole), shards))
    counts = [shard["count"] for shard in shards]
    readers = list(map(_reader, paths, counts))
    ends = np.cumsum(counts)
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


def _checked(folder: AnyPath, shard: dict[str, Any], whole: bool) -> Path:
  """The path of a shard, once its size, and its sum if asked, are right."""
  path = folder / shard["file"]
  copy = files.local(path) if path.is_file() else Path(path)
  size = copy.stat().st_size if copy.is_file() else 0
  if size != shard["bytes"]:
    raise UserError(
      f"{path} has {size} bytes instead of {shard['bytes']}; {AGAIN}, which "
      "rewrites it"
    )
  if whole and files.sha256(copy) != shard["sha256"]:
    raise _damaged(path, "its sha256 is another")
  return copy


def _manifest(folder: AnyPath) -> tuple[dict[str, Any], str]:
  """The manifest of a folder and its SHA-256."""
  path = folder / MANIFEST
  if not path.is_file():
    if (folder / SETTINGS).is_file():
      raise UserError(f"the encoding in {folder} was not finished: {AGAIN}")
    raise UserError(
      f"no latents in {folder}: run --mode=encode with the same config"
    )
  manifest = read_json(path, AGAIN)
  version = manifest.get("version") if isinstance(manifest, dict) else None
  if isinstance(version, int) and version != VERSION:
    raise UserError(
      f"{path} is of version {version}, this program reads {VERSION}: remove "
      f"{folder} and {AGAIN}"
    )
  with reading(path, AGAIN):
    if not _is_manifest(manifest):
      raise ValueError("it is damaged")
  return manifest, files.sha256(path)


def _is_manifest(manifest: dict[str, Any]) -> bool:
  """Whether it has all that a manifest has; may raise a LookupError or so."""
  shards = [
    shard
    for name in ("train", "test")
    for shard in manifest["splits"][name]["shards"] or [{}]
  ]
  channels = manifest["shapes"][-1][-1]
  names = manifest["class_names"]
  return (
    manifest["version"] == VERSION
    and are_shapes(manifest["shapes"])
    and all(are_numbers(manifest[key], channels) for key in ("mean", "std"))
    and isinstance(manifest["provenance"], dict)
    and all(isinstance(name, str) for name in names)
    and manifest["num_classes"] == len(names)
    and all(
      isinstance(shard["file"], str)
      and Path(shard["file"]).name == shard["file"]
      and isinstance(shard["sha256"], str)
      and all(type(shard[key]) is int for key in ("count", "bytes"))
      and shard["count"] > 0
      for shard in shards
    )
  )


def are_shapes(value: Any) -> bool:
  """Whether JSON is [[r,r,C], ...], the shapes of an image's latents."""
  return bool(value) and all(
    len(shape) == 3
    and all(type(n) is int and 0 < n < 2**16 for n in shape)
    and shape[0] == shape[1]
    for shape in value
  )


def are_numbers(value: Any, count: int) -> bool:
  """Whether JSON is a list of `count` numbers of float32."""
  return len(value) == count and all(
    type(number) in (int, float) and abs(number) < 1e38 for number in value
  )


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
    """The latents and labels of `indices`, read by all threads.

    Raises:
      UserError: one of them is damaged.
    """
    picks = np.asarray(indices)
    shards = np.searchsorted(self.ends, picks, side="right")
    fields = {name: self.record[name] for name in self.record.names or ()}
    del fields["crc"]
    found = {
      name: np.empty((len(picks), *field.shape), field.base)
      for name, field in fields.items()
    }

    def read_shards(some: np.ndarray) -> None:
      for shard in some:
        (there,) = np.nonzero(shards == shard)
        begin = self.ends[shard - 1] if shard else 0
        records = self._read_shard(shard, picks[there] - begin)
        for name, array in found.items():
          array[there] = records[name]

    parts = np.array_split(np.unique(shards), images.THREADS)
    for _ in images.reading_threads().map(read_shards, parts):
      pass
    *latents, label = found.values()
    return Batch(latents[0] if len(latents) == 1 else tuple(latents), label)

  def _read_shard(self, shard: int, positions: np.ndarray) -> np.ndarray:
    """[N] of `record`."""
    path = self.paths[shard]
    try:
      records = self.readers[shard].read(positions.tolist())
    except RuntimeError as error:
      raise _damaged(path, str(error).split("\n")[0]) from error
    if {len(record) for record in records} != {self.record.itemsize}:
      raise _damaged(path, f"no records of {self.record.itemsize} bytes")
    array = np.frombuffer(b"".join(records), self.record)
    for i, record in enumerate(records):
      if crc(record) != array["crc"][i]:
        raise _damaged(path, f"the CRC of record {positions[i]} is wrong")
    return array


def _reader(path: AnyPath, count: int) -> ArrayRecordReader:
  """The reader of a shard, which must have this many records."""
  try:
    reader = ArrayRecordReader(
      str(path), READER_OPTIONS, file_reader_buffer_size=1 << 15
    )
    records = reader.num_records()
  except RuntimeError as error:
    raise _damaged(path, str(error).split("\n")[0]) from error
  if records != count:
    raise _damaged(path, f"{records} records instead of {count}")
  return reader


def _damaged(path: AnyPath, reason: str) -> UserError:
  return UserError(f"{path} is damaged ({reason}); {AGAIN}, which rewrites it")
