"""Images and labels in an .npz, read in place."""

import math
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from lowdiff_jax.data.labels import check_labels
from lowdiff_jax.reading import reading
from lowdiff_jax.types import UserError

# What the arrays are called: by numpy, which ADM leaves it to, or by others.
IMAGES, LABELS = ("arr_0", "images"), ("labels", "arr_1")
# Bytes that are read at a time.
_BLOCK = 1 << 24


def header(path: Path) -> tuple[str, tuple[int, int, int, int]]:
  """The name and the shape of the array of images.

  Args:
    path: of the .npz.

  Returns:
    "arr_0" or "images", and [N,H,W,C].

  Raises:
    UserError: there is no such array, or it is not uint8 [N,H,W,C], or empty.
  """
  with reading(path), zipfile.ZipFile(path) as archive:
    name = _name(archive, IMAGES)
    if name is None:
      raise UserError(f"{path} has no array {' or '.join(IMAGES)}")
    with archive.open(f"{name}.npy") as file:
      shape, dtype = _read_header(file)
  if len(shape) != 4 or dtype != np.uint8:
    raise UserError(
      f"{name} in {path} is {dtype} {shape}, expected uint8 [N,H,W,C]"
    )
  if 0 in shape:
    raise UserError(f"{name} in {path} is {shape}: it holds no image")
  return name, (shape[0], shape[1], shape[2], shape[3])


def batches(path: Path, start: int, batch_size: int) -> Iterator[np.ndarray]:
  """The images from the given one on, [batch_size,H,W,C] at a time."""
  name, (count, *shape) = header(path)
  size = math.prod(shape)
  with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
    _read_header(file)
    file.seek(start * size, 1)
    for first in range(start, count, batch_size):
      images = min(batch_size, count - first)
      with reading(path):
        data = file.read(images * size)
        array = np.frombuffer(data, np.uint8).reshape(images, *shape)
      yield array


def open_images(path: Path) -> np.ndarray:
  """The images [N,H,W,C] uint8 by random access.

  Args:
    path: of the .npz. What is not compressed in it stays on the disk.

  Returns:
    The array; its bytes were checked.

  Raises:
    UserError: see `header`; or it is damaged.
  """
  name, shape = header(path)
  with reading(path), zipfile.ZipFile(path) as archive:
    info = archive.getinfo(f"{name}.npy")
    stored = info.compress_type == zipfile.ZIP_STORED
    with archive.open(info) as file:
      _read_header(file)
      if info.file_size - file.tell() != math.prod(shape):
        raise ValueError("its header and its size disagree")
      # The size that the header claims need not be there. Reading to the end
      # compares the CRC.
      blocks = iter(lambda: file.read(_BLOCK), b"")
      content = b"".join(block for block in blocks if not stored)
    if not stored:
      return np.frombuffer(content, np.uint8).reshape(shape)
    with path.open("rb") as raw:
      raw.seek(info.header_offset + 26)
      raw.seek(sum(struct.unpack("<HH", raw.read(4))), 1)
      _read_header(raw)
      return np.memmap(path, np.uint8, "r", raw.tell(), shape)


def read_labels(path: Path, count: int) -> np.ndarray | None:
  """The classes [count] int32 of the images; None if there are none.

  Raises:
    UserError: they are no classes, or of another number.
  """
  with reading(path), zipfile.ZipFile(path) as archive:
    name = _name(archive, LABELS)
    if name is None:
      return None
    with archive.open(f"{name}.npy") as file:
      values = np.lib.format.read_array(file, allow_pickle=False)
  return check_labels(values, count, f"{name} in {path}")


def _name(archive: zipfile.ZipFile, names: tuple[str, ...]) -> str | None:
  there = set(archive.namelist())
  return next((name for name in names if f"{name}.npy" in there), None)


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
  version = np.lib.format.read_magic(file)
  read: dict[tuple[int, int], Any] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
  }
  if version not in read:
    raise ValueError(f"an array of version {version}")
  shape, fortran, dtype = read[version](file)
  if fortran:
    raise ValueError(
      "it is in Fortran's order; save np.ascontiguousarray of it"
    )
  return shape, dtype
