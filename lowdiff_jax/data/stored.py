"""Finished images of whatever model: a folder or zip of them, or an array."""

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lowdiff_jax.data import npz, pipeline
from lowdiff_jax.data.decode import (
  EXTENSIONS,
  DecodeError,
  Decoder,
  is_image,
  pixels,
)
from lowdiff_jax.data.file_set import FileSet, one_file, open_files
from lowdiff_jax.data.survey import name_others, read_image
from lowdiff_jax.types import NO_LABEL, Batch, ImageSet, UserError


class Stored(NamedTuple):
  """Images in files, and an id that changes when the files do."""

  images: ImageSet
  id: str


def open_stored(
  path: Path,
  batch_size: int,
  shape: tuple[int, int, int] | None,
  decoder: Decoder = Decoder(),  # noqa: B008  # It is immutable.
) -> Stored:
  """Images in the order of their names, or of the array.

  Args:
    path: of a folder or a zip of image files, at any depth; or of an .npz with
      an array "arr_0" or "images" [N,H,W,C] uint8.
    batch_size: in which to return them; few batches are in memory.
    shape: [H,W,C] of an image; None for any size, in colour.
    decoder: of the files.

  Returns:
    The images.

  Raises:
    UserError: there is nothing of that kind; and, where an image is read, that
      it is damaged or of another size.
  """
  if not path.exists():
    raise UserError(f"there is no {path}")
  if path.is_file() and path.suffix.lower() == ".npz":
    images = open_npz(path, batch_size, shape)
    return Stored(images, _id(one_file(path)))
  if not path.is_dir() and path.suffix.lower() != ".zip":
    raise UserError(f"{path} is neither a folder nor an .npz nor a .zip")
  files = open_files(path)
  name_others(files)
  names = list(filter(is_image, files.stamps))
  if not names:
    raise UserError(f"no image in {path} ({' '.join(EXTENSIONS)})")
  images = _images(files, names, batch_size, shape, decoder)
  stamps = {name: files.stamps[name] for name in names}
  return Stored(images, _id(files._replace(stamps=stamps)))


def _id(files: FileSet) -> str:
  """Names, sizes and times of files, as a sum."""
  digest = hashlib.sha256()
  for name, stamp in files.stamps.items():
    line = f"{files.path(name)} {stamp.size} {stamp.mark}\n"
    digest.update(line.encode(errors="surrogateescape"))
  return digest.hexdigest()


def _images(
  files: FileSet,
  names: Sequence[str],
  batch_size: int,
  shape: tuple[int, int, int] | None,
  decoder: Decoder,
) -> ImageSet:
  channels = shape[-1] if shape else 3

  @functools.cache
  def expected() -> Sequence[int]:
    return shape or _decode(files, names[0], channels, decoder).shape

  def read(picks: np.ndarray) -> Batch:
    images = []
    for i in picks:
      images.append(_decode(files, names[i], channels, decoder))
      _check(files.path(names[i]), images[-1].shape, expected())
    return _batch(np.stack(images))

  return pipeline.in_order(read, np.arange(len(names)), batch_size)


def _decode(
  files: FileSet, name: str, channels: int, decoder: Decoder
) -> np.ndarray:
  """[H,W,channels] uint8; a damaged file is an error, as without it the
  metrics would be others."""
  try:
    return pixels(read_image(files, name, decoder), channels)
  except DecodeError as error:
    raise UserError(
      f"{files.path(name)} cannot be read ({error}): replace it or remove it"
    ) from error


def _check(name: str, shape: Sequence[int], expected: Sequence[int]) -> None:
  if tuple(shape) != tuple(expected):
    ours, theirs = (
      f"{w}x{h} with {c} channels" for h, w, c in (shape, expected)
    )
    raise UserError(
      f"{name} is {ours}, expected {theirs}: resizing would change the score"
    )


def open_npz(
  path: Path, batch_size: int, shape: tuple[int, int, int] | None = None
) -> ImageSet:
  """Images of an .npz, read as far as they are needed; see `open_stored`."""
  _, (count, *size) = npz.header(path)
  _check(str(path), size, shape or size)
  return ImageSet(
    count,
    batch_size,
    lambda start: map(_batch, npz.batches(path, start, batch_size)),
  )


def _batch(images: np.ndarray) -> Batch:
  return Batch(images, np.full(len(images), NO_LABEL, np.int32))
