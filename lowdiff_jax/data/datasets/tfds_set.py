"""Any TFDS set with a feature "image" and, if it has classes, "label".

Sets are prepared as array_record: random access, and no TensorFlow needed.
"""

import contextlib
import functools
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from PIL import Image

from lowdiff_jax import console, files, locks
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.data.datasets import imagenet, mirror
from lowdiff_jax.data.datasets.cifar10 import Cifar10
from lowdiff_jax.data.datasets.digits import Digits
from lowdiff_jax.data.datasets.ffhq64 import Ffhq64
from lowdiff_jax.data.datasets.shapes import Shapes
from lowdiff_jax.data.decode import DecodeError, Decoder, pixels
from lowdiff_jax.data.held_out import hold_out
from lowdiff_jax.data.images import Images, check_size, fit
from lowdiff_jax.types import NO_LABEL, ImageSpec, UserError

# Our own; all others are TFDS's.
BUILDERS = {
  "cifar10": Cifar10,
  "digits": Digits,
  "ffhq64": Ffhq64,
  "shapes": Shapes,
}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """That a set is not yet prepared is no reason to warn."""
  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.ERROR)
  try:
    yield
  finally:
    logging.set_verbosity(verbosity)


def open_tfds(
  name: str,
  resolution: int,
  crop: str,
  data_dir: str,
  part: float,
  decoder: Decoder,
) -> tuple[Images, Images]:
  """Train and held-out images of a set, which is prepared if it is not yet.

  ImageNet is not: its tars are read as they are.

  Args:
    name: of the set.
    resolution: side of the images to return.
    crop: one of `images.CROPS`.
    data_dir: where TFDS keeps its sets, on a disk or in a bucket; "" for its
      own default.
    part: of the images to hold out of "train" if there is no other split.
    decoder: of the images; those of ImageNet are taken as ADM takes them.

  Returns:
    The splits "train" and "test", or "validation", or a part of "train".

  Raises:
    UserError: the set is unknown, not to be had, or has no images to train on,
      or none that fit.
  """
  builder = _builder(name, data_dir)
  is_imagenet = builder.name == imagenet.NAME
  if is_imagenet and "array_record" not in _formats(builder):
    manual = Path(builder.data_dir).parents[1] / "downloads" / "manual"
    if imagenet.has_tars(manual) or not _formats(builder):
      return imagenet.open_imagenet(manual, resolution, crop)
  builder = _prepare(builder, name, data_dir)
  spec, names = _spec(builder, resolution)
  # As TFDS says; an image that is not so is refused when it is read.
  height, width = builder.info.features["image"].shape[:2]
  known = height is not None and width is not None
  if known:
    check_size((width, height), resolution, crop, f"an image of tfds:{name}")

  def images(records: Any, picks: Sequence[int]) -> Images:
    def decode(i: int) -> tuple[np.ndarray, int]:
      record, where = records[picks[i]], f"tfds:{name}: image {picks[i]}"
      # The published statistics are of images that were not turned upright.
      read = _as_adm if is_imagenet else decoder.decode
      image = _decode(record["image"], where, read)
      image = fit(image, resolution, crop, where, enlarge=is_imagenet)
      label = record["label"] if names else NO_LABEL
      return pixels(image, spec.channels), label

    return Images(spec, names, len(picks), decode, known=known)

  train, test = _records(builder, part, is_imagenet)
  return images(*train), images(*test)


def read_spec(name: str, resolution: int, data_dir: str) -> ImageSpec:
  """The spec of a set's images, whether the set is prepared or not.

  Args:
    name: of the set.
    resolution: side of the images.
    data_dir: where TFDS keeps its sets; "" for its own default.

  Returns:
    The spec.

  Raises:
    UserError: the set is unknown, or has no images.
  """
  builder = _builder(name, data_dir)
  _check_images(builder, name)
  return _spec(builder, resolution)[0]


def _spec(builder: Any, resolution: int) -> tuple[ImageSpec, tuple[str, ...]]:
  """Of a set's images, and the names of their classes."""
  features, names = builder.info.features, ()
  if isinstance(dict(features).get("label"), tfds.features.ClassLabel):
    names = tuple(features["label"].names)
  channels = 1 if features["image"].shape[-1] == 1 else 3
  return ImageSpec(resolution, channels, len(names)), names


def _check_images(builder: Any, name: str) -> None:
  if "image" not in builder.info.features:
    raise UserError(
      f"'tfds:{name}': the set has no feature 'image', "
      f"only {', '.join(builder.info.features)}"
    )


def _records(
  builder: Any, part: float, is_imagenet: bool
) -> list[tuple[Any, Sequence[int]]]:
  """The records of both splits, and which of them belong to it."""
  splits = builder.info.splits
  undecoded = {"image": tfds.decode.SkipDecoding()}
  train = builder.as_data_source("train", decoders=undecoded)
  # ImageNet's test split has no labels.
  for held_out in ("validation",) if is_imagenet else ("test", "validation"):
    if held_out in splits:
      test = builder.as_data_source(held_out, decoders=undecoded)
      return [(train, range(len(train))), (test, range(len(test)))]
  return [(train, picks) for picks in hold_out(len(train), part)]


def _as_adm(file: IO[bytes]) -> Image.Image:
  return Image.open(file).convert("RGB")


def _decode(
  content: bytes, where: str, read: Callable[[IO[bytes]], Image.Image]
) -> Image.Image:
  try:
    return read(io.BytesIO(content))
  except (DecodeError, OSError) as error:
    raise UserError(f"{where} cannot be read ({error})") from error


def data_folder(data_dir: str) -> AnyPath:
  """Where TFDS keeps its sets: `data_dir`, or its own default for ""."""
  if mirror.is_needed(data_dir):
    return files.expanded(data_dir)
  # <folder>/digits/<version>
  return Path(_builder("digits", data_dir).data_dir).parents[1]


@_quiet()
def _builder(name: str, data_dir: str) -> Any:
  """The builder of a set, prepared or not."""
  try:
    kind: Any = BUILDERS.get(name, functools.partial(tfds.builder, name))
    builder = kind(data_dir=mirror.folder(data_dir) or None)
    if mirror.is_needed(data_dir) and mirror.fetch(builder.data_dir, data_dir):
      builder = kind(data_dir=mirror.folder(data_dir))
    return builder
  except tfds.core.DatasetNotFoundError:
    raise UserError(
      f"'tfds:{name}': TFDS knows no set of that name; "
      "see https://www.tensorflow.org/datasets/catalog"
    ) from None


@_quiet()
def _formats(builder: Any) -> list[str]:
  """The file formats in which a set is prepared, if it is."""
  if not builder.is_prepared():
    return []
  return sorted(f.value for f in builder.info.available_file_formats())


def _download_and_prepare(builder: Any, name: str) -> None:
  tfds.disable_progress_bar()
  try:
    with console.hushed():  # TFDS says that it begins and that it is done.
      builder.download_and_prepare(file_format="array_record")
  except UserError:
    raise
  except Exception as error:  # TFDS lets through whatever went wrong below.
    if files.disk_fault(error) is not None:
      raise files.cannot_write(builder.data_dir, error) from error
    reason = str(error).strip().split("\n")[0]
    raise UserError(
      f"'tfds:{name}': could not be prepared in "
      f"{builder.data_dir} ({type(error).__name__}: {reason}); prepare it "
      "where there is a network, and name that folder as data.dir"
    ) from error


def _prepare(builder: Any, name: str, data_dir: str) -> Any:
  """The builder of the prepared set; UserError if it is of no use."""
  if not _formats(builder):
    folder = Path(builder.data_dir).parents[1]
    files.make_folder(folder)
    with locks.locked(folder, builder.name, wait=True):
      # Another process may have been faster: a builder does not notice.
      builder = _builder(name, data_dir)
      if not _formats(builder):
        _download_and_prepare(builder, name)
  if mirror.is_needed(data_dir):
    mirror.keep(builder.data_dir, data_dir)
  formats = _formats(builder)
  if "array_record" not in formats:
    raise UserError(
      f"'tfds:{name}': it is prepared as "
      f"{' and '.join(formats)} in {builder.data_dir}; prepare it as "
      "array_record, or choose another data.dir"
    )
  _check_images(builder, name)
  if "train" not in builder.info.splits:
    raise UserError(
      f"'tfds:{name}': the set has no split 'train', only "
      f"{', '.join(builder.info.splits)}"
    )
  return builder
