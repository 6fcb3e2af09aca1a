"""The files of a data set of latents, each of which appears when it is whole.

A shard gets its name once all of it is written, and then a sidecar with what
proves it whole and with the sums from which the statistics are made.
"""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

from lowdiff_jax import console, files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.data.latents.reader import (
  are_numbers,
  are_shapes,
  crc,
  record_type,
)
from lowdiff_jax.reading import read_json, reading
from lowdiff_jax.types import UserError


@dataclasses.dataclass(frozen=True)
class Shard:
  """A file of records.

  Attributes:
    path: of the file.
    records: those of the split that are in it.
  """

  path: AnyPath
  records: range

  @property
  def sidecar(self) -> AnyPath:
    """Where the summary is."""
    return self.path.with_suffix(".json")

  def summary(self) -> dict[str, Any] | None:
    """file, count, bytes, sha256, shapes, sums; None if there is no whole."""
    try:
      value = read_json(self.sidecar)
      with reading(self.sidecar):
        return value if self._is_summary(value) else None
    except UserError:
      return None

  def _is_summary(self, value: dict[str, Any]) -> bool:
    """Whether it has all that a summary has; may raise a LookupError or so."""
    channels = value["shapes"][-1][-1]
    return (
      value["file"] == self.path.name
      and value["count"] == len(self.records)
      and isinstance(value["sha256"], str)
      and type(value["bytes"]) is int
      and are_shapes(value["shapes"])
      and are_numbers(value["sum"], channels)
      and are_numbers(value["sum_of_squares"], channels)
    )

  def is_whole(self) -> bool:
    """Whether the file is that of the summary; says so if it is damaged."""
    summary = self.summary()
    if summary is None and not self.path.exists():
      return False
    if summary is not None and self.path.is_file():
      copy = files.local(self.path)
      size, digest = copy.stat().st_size, files.sha256(copy)
      if (size, digest) == (summary["bytes"], summary["sha256"]):
        return True
      reason = "is damaged"
    else:
      reason = "was not finished"
    console.say(f"{self.path} {reason}: it is written again")
    return False

  def write(
    self, encoded: Iterable[tuple[list[np.ndarray], np.ndarray]]
  ) -> None:
    """Writes the file, then the summary.

    Args:
      encoded: batches of latents, [n,r,r,C] float16 of each resolution, lowest
        first, and labels [n].

    Raises:
      UserError: it cannot be written.
    """
    with files.replacing(self.path) as partial:
      self.sidecar.unlink(missing_ok=True)
      summary = self._write_records(partial, encoded)
    files.write_json(self.sidecar, summary, indent=1)

  def _write_records(
    self,
    partial: Path,
    encoded: Iterable[tuple[list[np.ndarray], np.ndarray]],
  ) -> dict[str, Any]:
    """Writes the file under a name of its own; returns the summary."""
    sums = np.zeros(())
    with self._or_error():
      writer = ArrayRecordWriter(str(partial), "group_size:1,uncompressed")
    for latents, labels in encoded:
      shapes = [latent.shape[1:] for latent in latents]
      records = np.zeros(len(labels), record_type(shapes))
      fields = records.dtype.names[:-1]
      for field, value in zip(fields, [*latents, labels], strict=True):
        records[field] = value
      with self._or_error():
        for record in records:
          record["crc"] = crc(record.tobytes())
          writer.write(record.tobytes())
      top = latents[-1].astype(np.float64)
      parts = (top, np.square(top))
      sums = sums + np.stack([part.sum((0, 1, 2)) for part in parts])
    with self._or_error():
      writer.close()
    return {
      "file": self.path.name,
      "count": len(self.records),
      "bytes": partial.stat().st_size,
      "sha256": files.sha256(partial),
      "shapes": shapes,
      "sum": sums[0].tolist(),
      "sum_of_squares": sums[1].tolist(),
    }

  @contextlib.contextmanager
  def _or_error(self) -> Iterator[None]:
    try:
      yield
    except (RuntimeError, OSError) as error:
      raise files.cannot_write(self.path, error) from error


class Layout(NamedTuple):
  """What the files of a set hold.

  Attributes:
    flip: also the latents of the mirror image of each training image.
    shard_images: images whose latents are in one file.
  """

  flip: bool
  shard_images: int


def split_shards(
  folder: AnyPath, split: str, images: int, shard_images: int, copies: int
) -> list[Shard]:
  """The shards of a split.

  Args:
    folder: of the set.
    split: its name.
    images: in the split.
    shard_images: whose latents are in one file.
    copies: records of an image.

  Returns:
    All, in order.
  """
  starts = range(0, images, shard_images)
  return [
    Shard(
      folder / f"{split}-{k:05d}-of-{len(starts):05d}.array_record",
      range(copies * start, copies * min(start + shard_images, images)),
    )
    for k, start in enumerate(starts)
  ]
