"""ImageNet-1k read straight from its two official tars, by random access.

They are used where they are: nothing is extracted. The classes are those of
TFDS's `imagenet2012`: the sorted names of the synsets.
"""

import io
import re
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from lowdiff_jax.data.datasets.tar import ENTRY, members, open_archive
from lowdiff_jax.data.images import Images, fit
from lowdiff_jax.types import ImageSpec, UserError

NAME = "imagenet2012"
TRAIN, VALIDATION = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
HOME = "https://image-net.org"
# What a damaged image may raise.
UNREADABLE = (OSError, EOFError, SyntaxError, ValueError, zlib.error)


def open_imagenet(
  manual: Path, resolution: int, crop: str
) -> tuple[Images, Images]:
  """The training and the validation images.

  Args:
    manual: the folder of both tars.
    resolution: side of the images to return.
    crop: one of `images.CROPS`.

  Returns:
    Both splits, ordered by class and name, and by name.

  Raises:
    UserError: a tar is missing, damaged, or not ImageNet's.
  """
  if not has_tars(manual):
    raise UserError(
      f"tfds:{NAME} has to be fetched by hand: get {TRAIN} and {VALIDATION} "
      f"from {HOME} (registration needed) and put them into {manual}"
    )
  synsets = _lines("labels.txt")
  spec = ImageSpec(resolution, 3, len(synsets))

  def images(archive: Any) -> Images:
    def decode(i: int) -> tuple[np.ndarray, int]:
      name = f"{archive.path}: {archive.name(i)}"
      try:
        with Image.open(io.BytesIO(archive.content(i))) as file:
          image = file.convert("RGB")  # One is PNG, some are CMYK.
      except UNREADABLE as error:
        reason = str(error).split("\n")[0]
        raise UserError(
          f"{name} cannot be read ({reason}); fetch the tar again from {HOME}"
        ) from error
      image = fit(image, resolution, crop, name, enlarge=True)
      return np.asarray(image), int(archive.entries["label"][i])

    return Images(spec, synsets, len(archive.entries), decode)

  def scan_train(path: Path) -> Any:
    return scan_by_class(path, synsets)

  def scan_validation(path: Path) -> Any:
    order = {name: label for label, name in enumerate(synsets)}
    names = _lines("validation_labels.txt")
    return scan_by_number(path, [order[name] for name in names])

  return (
    images(open_archive(manual / TRAIN, scan_train)),
    images(open_archive(manual / VALIDATION, scan_validation)),
  )


def has_tars(manual: Path) -> bool:
  """Whether both tars are there."""
  return all((manual / name).is_file() for name in (TRAIN, VALIDATION))


def _lines(name: str) -> tuple[str, ...]:
  """Of a file that TFDS ships."""
  path = Path(tfds.core.tfds_path(f"datasets/{NAME}/{name}"))
  return tuple(path.read_text().split())


def scan_by_class(path: Path, synsets: tuple[str, ...]) -> np.ndarray:
  """The images of a tar of tars, one `<synset>.tar` for each class.

  Args:
    path: of the tar.
    synsets: all classes, sorted; a class need not be in the tar.

  Returns:
    [N] of `ENTRY`, ordered by class and name.

  Raises:
    UserError: the tar is damaged, or holds anything else.
  """
  labels = {f"{name}.tar": label for label, name in enumerate(synsets)}

  def inner(member: Any) -> Any:
    name, start, size = member
    if name not in labels:
      raise UserError(
        f"{path} holds {name}, which is no class of ImageNet-1k; fetch {TRAIN} "
        f"from {HOME}"
      )
    pictures = members(path, start, start + size)
    return [(*picture, labels[name]) for picture in pictures]

  # What takes long is to wait for the disk.
  with ThreadPoolExecutor(16) as pool:
    classes = list(pool.map(inner, members(path, 0, path.stat().st_size)))
  entries = np.array([entry for found in classes for entry in found], ENTRY)
  return np.sort(entries, order=["label", "name"])


def scan_by_number(path: Path, labels: list[int]) -> np.ndarray:
  """The images of a tar of `ILSVRC2012_val_<number>.JPEG`.

  Args:
    path: of the tar.
    labels: of the numbers 1, 2, ...; a number need not be in the tar.

  Returns:
    [N] of `ENTRY`, ordered by number.

  Raises:
    UserError: the tar is damaged, or holds anything else.
  """
  entries = []
  for picture in members(path, 0, path.stat().st_size):
    match = re.fullmatch(r"ILSVRC2012_val_(\d{8})\.JPEG", picture[0])
    if not match or not 1 <= int(match[1]) <= len(labels):
      raise UserError(
        f"{path} holds {picture[0]}, which is no validation image of "
        f"ImageNet-1k; fetch {VALIDATION} from {HOME}"
      )
    entries.append((*picture, labels[int(match[1]) - 1]))
  return np.sort(np.array(entries, ENTRY), order="name")
