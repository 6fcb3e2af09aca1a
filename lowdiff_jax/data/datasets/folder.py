"""A folder of the user's own images, or a zip of one, read in place.

Classes are those of dataset.json, as EDM's and StyleGAN's tools write it, or
else the subfolders, if any.
"""

import collections
import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from absl import logging

from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.data.decode import (
  EXTENSIONS,
  DecodeError,
  Decoder,
  is_image,
  pixels,
)
from lowdiff_jax.data.file_set import (
  LABELS,
  FileSet,
  one_file,
  open_files,
  plain_name,
)
from lowdiff_jax.data.held_out import hold_out
from lowdiff_jax.data.images import Images, check_size, fit
from lowdiff_jax.data.labels import check_labels, name_untrained
from lowdiff_jax.data.survey import Facts, read_image, survey
from lowdiff_jax.reading import reading
from lowdiff_jax.types import NO_LABEL, ImageSpec, UserError


def open_folder(
  root: Path,
  *,
  resolution: int,
  crop: str,
  part: float,
  decoder: Decoder,
  kept: AnyPath | None = None,
) -> tuple[Images, Images]:
  """Train and held-out images of a folder or a zip.

  Args:
    root: the folder or the zip.
    resolution: side of the images to return.
    crop: one of `images.CROPS`.
    part: of the images to hold out, see `held_out.hold_out`.
    decoder: of the files.
    kept: where the survey is kept, see `survey.survey`.

  Returns:
    Both splits; gray if all images are.

  Raises:
    UserError: too few images, one that does not fit, or wrong labels.
  """
  files = open_files(root)
  if not any(map(is_image, files.stamps)):
    raise UserError(f"no image in {root} ({' '.join(EXTENSIONS)})")
  facts = survey(files, decoder, kept)
  _check_sizes(files, facts, resolution, crop)
  names = list(facts)
  classes, labels = _classes(files, names)
  if len(names) < 4:
    raise UserError(f"fewer than 4 readable images in {root}")
  channels = max(fact.channels for fact in facts.values())
  spec = ImageSpec(resolution, channels, len(classes))

  def images(picks: Sequence[int]) -> Images:
    def decode(i: int) -> tuple[np.ndarray, int]:
      name = names[picks[i]]
      where = files.path(name)
      try:
        image = read_image(files, name, decoder)
      except DecodeError as error:
        raise UserError(
          f"{where} cannot be read any more ({error}): restore or remove it"
        ) from error
      image = fit(image, resolution, crop, where)
      return pixels(image, channels), int(labels[picks[i]])

    return Images(spec, classes, len(picks), decode, known=True)

  train, test = hold_out(len(names), part, labels if classes else None)
  if classes:
    name_untrained(classes, labels[train], str(root))
  return images(train), images(test)


def read_small_images(
  path: Path,
  sides: Sequence[int],
  channels: int,
  decoder: Decoder = Decoder(),  # noqa: B008  # It is immutable.
) -> tuple[list[str], np.ndarray]:
  """Images to be upscaled.

  Args:
    path: a file, a folder of files, or a zip.
    sides: the resolutions that are accepted.
    channels: 1 or 3.
    decoder: of the files.

  Returns:
    Their names without ending, as in "cat/1", and with it where two would be
    the same; and the images [N,side,side,channels] uint8.

  Raises:
    UserError: nothing readable, or sizes that are not among `sides` or differ.
  """
  if path.is_file() and is_image(path.name):
    files = one_file(path)
  else:
    files = open_files(path)
  facts = survey(files, decoder)
  if not facts:
    raise UserError(f"no readable image in {path}")
  for name, fact in facts.items():
    if (fact.width, fact.height) not in [(side, side) for side in sides]:
      accepted = ", ".join(f"{side}x{side}" for side in sides) or "no images"
      raise UserError(
        f"{files.path(name)} is {fact.width}x{fact.height}: this model "
        f"upscales {accepted}"
      )
  _check_same_size(files, facts)
  arrays = [pixels(read_image(files, n, decoder), channels) for n in facts]
  stems = [str(PurePosixPath(name).with_suffix("")) for name in facts]
  counts = collections.Counter(stem.lower() for stem in stems)
  names = [
    stem if counts[stem.lower()] == 1 else name
    for stem, name in zip(stems, facts, strict=True)
  ]
  return names, np.stack(arrays)


def _check_sizes(
  files: FileSet, facts: dict[str, Facts], resolution: int, crop: str
) -> None:
  for name, fact in facts.items():
    size = (fact.width, fact.height)
    check_size(size, resolution, crop, files.path(name))
  if crop == "none":
    _check_same_size(files, facts)


def _check_same_size(files: FileSet, facts: dict[str, Facts]) -> None:
  first = next(iter(facts), "")
  for name, fact in facts.items():
    one = facts[first]
    if (fact.width, fact.height) != (one.width, one.height):
      raise UserError(
        f"{files.path(name)} is {fact.width}x{fact.height} but "
        f"{files.path(first)} is {one.width}x{one.height}: make all images "
        "squares of one size, or crop them with crop='center'"
      )


def _classes(
  files: FileSet, names: Sequence[str]
) -> tuple[tuple[str, ...], np.ndarray]:
  """The names of the classes, and the class of each image."""
  if LABELS in files.stamps:
    record = _read_labels(files)
    if record is not None:
      return _listed_classes(files.path(LABELS), record, names)
  folders = [name.split("/")[0] for name in names if "/" in name]
  if not folders:
    return (), np.full(len(names), NO_LABEL, np.int32)
  if len(folders) < len(names):
    raise UserError(
      f"{files.root} holds images both in subfolders (classes) "
      "and beside them; move them into one or the other"
    )
  classes = tuple(sorted(set(folders)))
  number = {name: label for label, name in enumerate(classes)}
  images = [n for n in files.stamps if "/" in n and is_image(n)]
  for name in sorted({n.split("/")[0] for n in images} - set(classes)):
    logging.warning("class %s of %s has no readable image", name, files.root)
  return classes, np.array([number[name] for name in folders], np.int32)


def _read_labels(files: FileSet) -> Any:
  """The entry "labels" of dataset.json; None without one, [] if it is null."""
  where = files.path(LABELS)
  with reading(Path(where)), files.open(LABELS) as file:
    record = json.load(file)
  if not isinstance(record, dict) or "labels" not in record:
    return None  # Another program's.
  return [] if record["labels"] is None else record["labels"]


def _listed_classes(
  where: str, record: Any, names: Sequence[str]
) -> tuple[tuple[str, ...], np.ndarray]:
  """Classes by dataset.json: [["00000/img00000000.png", 6], ...]."""
  try:
    by_name = {plain_name(str(name)): label for name, label in record}
  except (TypeError, ValueError) as error:
    raise UserError(
      f"{where}: expected labels as in [['00000/img00000000.png', 6], ...]"
    ) from error
  if not by_name or not names:
    return (), np.full(len(names), NO_LABEL, np.int32)
  lacking = [name for name in names if name not in by_name]
  if lacking:
    raise UserError(
      f"{where} has no label for {lacking[0]} and {len(lacking) - 1} other "
      "images: add them, or remove the images"
    )
  labels = check_labels([by_name[n] for n in names], len(names), where)
  return tuple(map(str, range(int(labels.max()) + 1))), labels
