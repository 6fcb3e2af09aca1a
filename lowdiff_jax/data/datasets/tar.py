"""Images in a tar by random access; nothing is extracted.

A tar is scanned once, for where its images lie; this index is kept beside it,
if that can be written.
"""

import dataclasses
import os
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from lowdiff_jax import console
from lowdiff_jax.reading import read_npz
from lowdiff_jax.types import UserError

BLOCK = 512  # Headers take one; contents are padded to whole ones.
# A image in a tar; `start` is the first byte of its content.
ENTRY = np.dtype(
  [("name", "S40"), ("start", "<i8"), ("size", "<i8"), ("label", "<i4")]
)
# Changes with what an index holds.
INDEX_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Archive:
  """A tar whose images are known; may be read by several threads.

  Attributes:
    path: of the tar.
    entries: [N] of `ENTRY`.
    descriptor: of the open file.
  """

  path: Path
  entries: np.ndarray
  descriptor: int

  def name(self, i: int) -> str:
    """Of the i-th image."""
    return self.entries["name"][i].decode()

  def content(self, i: int) -> bytes:
    """The bytes of the i-th image."""
    entry = self.entries[i]
    # Unlike seek and read, it moves no position that threads would share.
    return os.pread(self.descriptor, int(entry["size"]), int(entry["start"]))


def open_archive(path: Path, scan: Callable[[Path], np.ndarray]) -> Archive:
  """Opens a tar by its kept index, or scans it.

  Args:
    path: of the tar.
    scan: finds the entries of a tar.

  Returns:
    The archive. Its index is kept in `<path>.index.npz` and holds as long as
    the tar keeps its size and time.

  Raises:
    UserError: what `scan` finds wrong.
  """
  stat = path.stat()
  stamp = np.array([INDEX_VERSION, stat.st_size, stat.st_mtime_ns])
  kept = path.with_name(f"{path.name}.index.npz")
  entries = _kept_entries(kept, stamp)
  if entries is None:
    console.say(f"looking through {path}")
    entries = scan(path)
    try:
      # Renamed when it is whole: other processes may be reading.
      with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        whole = Path(folder) / kept.name
        np.savez_compressed(whole, stamp=stamp, entries=entries)
        whole.replace(kept)
    except OSError as error:
      logging.warning("cannot keep %s (%s)", kept, error.strerror)
  return Archive(path, entries, os.open(path, os.O_RDONLY))


def _kept_entries(kept: Path, stamp: Any) -> Any:
  """The entries of an index; None if it is not of this very tar."""
  try:
    index = read_npz(kept)
  except UserError:
    return None
  if not {"stamp", "entries"} <= index.keys():
    return None
  same, entries = np.array_equal(index["stamp"], stamp), index["entries"]
  fits = entries.dtype == ENTRY and entries.ndim == 1
  return entries if same and fits else None


def members(path: Path, start: int, stop: int) -> list[tuple[str, int, int]]:
  """The files of a tar that lies in some bytes of a file.

  Args:
    path: of the file.
    start: the first byte of the tar.
    stop: the byte after it.

  Returns:
    (name without folders, first byte of the content, its size) of each.

  Raises:
    UserError: it is cut off, or a header is damaged (which `tarfile` takes for
      the end).
  """
  found: list[tuple[str, int, int]] = []
  with open(path, "rb") as file:
    while True:
      header = os.pread(file.fileno(), BLOCK, start) if start < stop else b""
      try:
        info = tarfile.TarInfo.frombuf(header, "ascii", "backslashreplace")
      except tarfile.TarError as error:
        # Two blocks of zeros are the end.
        if header == bytes(BLOCK) and found:
          return found
        raise UserError(
          f"{path} is damaged or cut off at byte {start} ({error}); "
          "fetch it again"
        ) from error
      start += BLOCK
      if info.isreg():
        found.append((Path(info.name).name, start, info.size))
      start += -(-info.size // BLOCK) * BLOCK
