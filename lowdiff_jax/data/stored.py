"""Finished images of whatever model: a folder of them, or an array."""

import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import Image

from lowdiff_jax.data.datasets.folder import EXTENSIONS
from lowdiff_jax.types import NO_LABEL, Batch, ImageSet, UserError

# What the array of images is called: by numpy, which ADM leaves it to.
NAMES = ("arr_0", "images")


class Stored(NamedTuple):
  """Images in files, and an id that changes when the files do."""

  images: ImageSet
  id: str


def open_stored(
  path: Path, batch_size: int, shape: tuple[int, int, int] | None
) -> Stored:
  """Images in the order of their names, or of the array.

  Args:
    path: of a folder of PNG, JPEG, WebP or BMP files, at any depth; or of an
      .npz with an array "arr_0" or "images" [N,H,W,C] uint8.
    batch_size: in which to return them; no more are in memory.
    shape: [H,W,C] of a image; None for any size, in colour.

  Returns:
    The images.

  Raises:
    UserError: there is nothing of that kind; and, where a image is read, that
      it is damaged or of another size.
  """
  if path.is_dir():
    files = sorted(
      file for file in path.rglob("*") if file.suffix.lower() in EXTENSIONS
    )
    if not files:
      raise UserError(f"no picture in {path} ({' '.join(EXTENSIONS)})")
    return Stored(_folder(files, batch_size, shape), _id(files))
  if path.suffix != ".npz":
    raise UserError(f"{path} is neither a folder nor an .npz")
  pictures = open_npz(path, batch_size, shape)
  return Stored(pictures, _id([path]))


def _id(files: Sequence[Path]) -> str:
  """Names, sizes and times of files, as a sum."""
  digest = hashlib.sha256()
  for file in files:
    stat = file.stat()
    digest.update(f"{file} {stat.st_size} {stat.st_mtime_ns}\n".encode())
  return digest.hexdigest()


def _folder(
  files: Sequence[Path], batch_size: int, shape: tuple[int, int, int] | None
) -> ImageSet:
  def read(start: int) -> Iterator[Batch]:
    channels = shape[-1] if shape else 3
    expected = shape or _decode(files[0], channels).shape
    for first in range(start, len(files), batch_size):
      images = []
      for file in files[first : first + batch_size]:
        images.append(_decode(file, channels))
        _check(str(file), images[-1].shape, expected)
      yield _batch(np.stack(images))

  return ImageSet(len(files), batch_size, read)


def _check(name: str, shape: Sequence[int], expected: Sequence[int]) -> None:
  if tuple(shape) != tuple(expected):
    ours, theirs = (
      f"{w}x{h} with {c} channels" for h, w, c in (shape, expected)
    )
    raise UserError(
      f"{name} is {ours}, expected {theirs}: resizing would change the score"
    )


def _decode(file: Path, channels: int) -> np.ndarray:
  """[H,W,channels] uint8; a damaged file is an error, as without it the
  metrics would be others."""
  try:
    with Image.open(file) as picture:
      array = np.asarray(picture.convert("L" if channels == 1 else "RGB"))
  except (OSError, SyntaxError, ValueError) as error:
    reason = str(error).split("\n")[0]
    raise UserError(
      f"{file} cannot be read ({reason}): replace it or remove it"
    ) from error
  return array.reshape(*array.shape[:2], channels)


def open_npz(
  path: Path, batch_size: int, shape: tuple[int, int, int] | None = None
) -> ImageSet:
  """Images of an .npz, read as far as they are needed; see `open_stored`."""
  _, (count, *size) = _header(path)
  _check(str(path), size, shape or size)
  return ImageSet(
    count, batch_size, lambda start: _read_npz(path, start, batch_size)
  )


def _header(path: Path) -> tuple[str, tuple[int, ...]]:
  """The name and the shape of the array of images."""
  try:
    with zipfile.ZipFile(path) as archive:
      names = [n for n in NAMES if f"{n}.npy" in archive.namelist()]
      if not names:
        raise UserError(f"{path} has no array {' or '.join(NAMES)}")
      with archive.open(f"{names[0]}.npy") as file:
        shape, dtype = _read_header(file)
  except UserError:
    raise
  except (OSError, ValueError, zipfile.BadZipFile) as error:
    raise UserError(f"{path} cannot be read ({error})") from error
  if len(shape) != 4 or dtype != np.uint8:
    raise UserError(
      f"{names[0]} in {path} is {dtype} {shape}, expected uint8 [N,H,W,C]"
    )
  return names[0], shape


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
  version = np.lib.format.read_magic(file)
  read = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
  }
  if version not in read:
    raise ValueError(f"an array of version {version}")
  shape, fortran, dtype = read[version](file)
  if fortran:
    raise ValueError("an array in Fortran's order")
  return shape, dtype


def _read_npz(path: Path, start: int, batch_size: int) -> Iterator[Batch]:
  name, (count, *shape) = _header(path)
  size = int(np.prod(shape))
  with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
    _read_header(file)
    file.seek(start * size, 1)
    for first in range(start, count, batch_size):
      images = min(batch_size, count - first)
      try:
        data = file.read(images * size)
        array = np.frombuffer(data, np.uint8).reshape(images, *shape)
      except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is damaged ({error})") from error
      yield _batch(array)


def _batch(images: np.ndarray) -> Batch:
  return Batch(images, np.full(len(images), NO_LABEL, np.int32))
