"""A folder of the user's own images; a subfolder for each class, if any."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from absl import logging
from PIL import Image

from lowdiff_jax.data.images import Images, fit, hold_out
from lowdiff_jax.types import NO_LABEL, ImageSpec, UserError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


def open_folder(
  root: Path, resolution: int, crop: str, part: float
) -> tuple[Images, Images]:
  """Train and test images of a folder; unreadable files are named and left."""
  if not root.is_dir():
    raise UserError(f"there is no folder {root}")
  files = _files(root)
  if not files:
    raise UserError(f"no image in {root} ({' '.join(EXTENSIONS)})")
  folders = [path.relative_to(root).parts[0] for path in files]
  names = tuple(sorted(set(folders)))
  if all(path.parent == root for path in files):
    names = ()
  elif any(path.parent == root for path in files):
    raise UserError(
      f"{root} holds images both in subfolders (classes) "
      "and beside them; move them into one or the other"
    )
  files, channels = _survey(files, resolution, crop)
  if len(files) < 4:
    raise UserError(f"fewer than 4 readable images in {root}")
  spec = ImageSpec(resolution, channels, len(names))

  def images(picks: Sequence[int]) -> Images:
    def decode(i: int) -> tuple[np.ndarray, int]:
      path = files[picks[i]]
      picture = fit(Image.open(path), resolution, crop, str(path))
      label = NO_LABEL
      if names:
        label = names.index(path.relative_to(root).parts[0])
      return _pixels(picture, channels), label

    return Images(spec, names, len(picks), decode)

  train, test = hold_out(len(files), part)
  return images(train), images(test)


def read_small_images(
  path: Path, sides: Sequence[int], channels: int
) -> tuple[list[str], np.ndarray]:
  """Images to be upscaled.

  Args:
    path: a file, or a folder of files.
    sides: the resolutions that are accepted.
    channels: 1 or 3.

  Returns:
    Their names without ending, and the images [N,side,side,channels] uint8.

  Raises:
    UserError: nothing readable, or sizes that are not among `sides` or differ.
  """
  path = path.expanduser()
  if not path.exists():
    raise UserError(f"there is no {path}")
  files = _files(path) if path.is_dir() else [path]
  pictures = list(_pictures(files))
  if not pictures:
    raise UserError(f"no readable image in {path}")
  for file, picture in pictures:
    if picture.size not in [(side, side) for side in sides]:
      accepted = ", ".join(f"{side}x{side}" for side in sides) or "no images"
      raise UserError(
        f"{file} is {picture.width}x{picture.height}: this model upscales "
        f"{accepted}"
      )
    _check_same_size(file, picture, *pictures[0])
  arrays = [_pixels(picture, channels) for _, picture in pictures]
  return [file.stem for file, _ in pictures], np.stack(arrays)


def _files(root: Path) -> list[Path]:
  return sorted(
    path for path in root.rglob("*") if path.suffix.lower() in EXTENSIONS
  )


def _pictures(files: Sequence[Path]) -> Iterator[tuple[Path, Image.Image]]:
  """(file, image) of those that decode; the others are named and left."""
  for file in files:
    try:
      with Image.open(file) as picture:
        picture.load()
    except (OSError, SyntaxError, ValueError) as error:
      reason = str(error).split("\n")[0]
      logging.warning("skipped the unreadable image %s (%s)", file, reason)
      continue
    yield file, picture


def _pixels(picture: Image.Image, channels: int) -> np.ndarray:
  """[H,W,channels] uint8."""
  picture = picture.convert("L" if channels == 1 else "RGB")
  return np.asarray(picture).reshape(*picture.size[::-1], channels)


def _check_same_size(
  file: Path, picture: Image.Image, first_file: Path, first: Image.Image
) -> None:
  if picture.size != first.size:
    raise UserError(
      f"{file} is {picture.width}x{picture.height} but {first_file} is "
      f"{first.width}x{first.height}: make all images squares of one size, or "
      "crop them with crop='center'"
    )


def _survey(
  files: Sequence[Path], resolution: int, crop: str
) -> tuple[list[Path], int]:
  """The files that decode, and how many channels they need."""
  readable, channels, first = [], 1, None
  for file, picture in _pictures(files):
    fit(picture, resolution, crop, str(file))
    first = first or (file, picture)
    if crop == "none":
      _check_same_size(file, picture, *first)
    if picture.mode not in ("1", "L", "LA"):
      channels = 3
    readable.append(file)
  return readable, channels
