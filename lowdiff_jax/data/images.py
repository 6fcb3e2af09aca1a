"""A split of images as random access, and how an image is made to fit.

An image must be a square of at least the model's resolution; a larger one is
shrunk by averaging areas. With crop="center" its middle square is taken first.
With crop="adm" it is shrunk and cropped as ADM does it, the custom of ImageNet.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
from PIL import Image

from lowdiff_jax.types import Batch, ImageSource, ImageSpec, UserError

CROPS = ("none", "center", "adm")
# Splits that take less than this are decoded once and held in memory.
MEMORY_LIMIT = 2 << 30
# That read and decode images.
THREADS = min(16, os.cpu_count() or 1)


@dataclasses.dataclass(frozen=True)
class Images:
  """One split, decoded when it is read; a `types.ImageSource`.

  Attributes:
    spec: resolution, channels and number of classes.
    class_names: one for each class.
    count: number of images.
    decode: index -> (image [H,W,C] uint8, label).
    known: whether all images are known to fit, and need not be read to be sure.
  """

  spec: ImageSpec
  class_names: tuple[str, ...]
  count: int
  decode: Callable[[int], tuple[np.ndarray, int]]
  known: bool = False

  def __len__(self) -> int:
    return self.count

  def read(self, indices: Sequence[int] | np.ndarray) -> Batch:
    """The images and labels of `indices`, decoded by all threads."""
    parts = np.array_split(np.asarray(indices), THREADS)
    found = reading_threads().map(
      lambda part: [self.decode(int(i)) for i in part], parts
    )
    images, labels = zip(*(one for part in found for one in part), strict=True)
    return Batch(np.stack(images), np.asarray(labels, np.int32))


@functools.cache
def reading_threads() -> ThreadPoolExecutor:
  """Shared by all splits."""
  return ThreadPoolExecutor(THREADS)


@dataclasses.dataclass(frozen=True)
class ImagesInMemory:
  """One split of images or latents as arrays; a `types.ImageSource`."""

  spec: ImageSpec
  class_names: tuple[str, ...]
  batch: Batch

  def __len__(self) -> int:
    return len(self.batch.label)

  def read(self, indices: Sequence[int] | np.ndarray) -> Batch:
    """The images and labels of `indices`."""
    return jax.tree.map(lambda array: array[indices], self.batch)


@dataclasses.dataclass(frozen=True)
class ReadOnce:
  """A split that is held in memory once it is read; a `types.ImageSource`.

  Attributes:
    source: the split.
    arrays: its images and labels, as far as they were read.
    known: [N] which ones were.
  """

  source: ImageSource
  spec: ImageSpec
  arrays: Batch
  known: np.ndarray

  @property
  def class_names(self) -> Sequence[str]:
    """Those of the split."""
    return self.source.class_names

  @property
  def batch(self) -> Batch:
    """All images and labels."""
    return self.read(np.arange(len(self)))

  def __len__(self) -> int:
    return len(self.known)

  def read(self, indices: Sequence[int] | np.ndarray) -> Batch:
    """The images and labels of `indices`."""
    picks = np.asarray(indices)
    new = np.unique(picks[~self.known[picks]])
    if len(new):
      for ours, theirs in zip(
        *map(jax.tree.leaves, (self.arrays, self.source.read(new))), strict=True
      ):
        ours[new] = theirs
      # Last, as other threads read meanwhile.
      self.known[new] = True
    return jax.tree.map(lambda array: array[picks], self.arrays)


def in_memory(source: ImageSource, *, at_once: bool = True) -> ImageSource:
  """Holds a split that takes less than `MEMORY_LIMIT` in memory.

  Args:
    source: the split.
    at_once: whether all of it is read now, or each image when it is needed.

  Returns:
    The same images.
  """
  count, one = len(source), source.read([0])
  if count * sum(x.nbytes for x in jax.tree.leaves(one)) > MEMORY_LIMIT:
    return source
  if at_once:
    batch = source.read(range(count))
    return ImagesInMemory(source.spec, tuple(source.class_names), batch)
  arrays = jax.tree.map(lambda x: np.empty((count, *x.shape[1:]), x.dtype), one)
  return ReadOnce(source, source.spec, arrays, np.zeros(count, bool))


def fit(
  image: Image.Image,
  resolution: int,
  crop: str,
  name: str,
  *,
  enlarge: bool = False,
) -> Image.Image:
  """The image as a square of side `resolution`.

  Args:
    image: an image.
    resolution: the side.
    crop: one of `CROPS`.
    name: of the image, for the error.
    enlarge: a smaller image is no mistake if it is cropped as ADM does it.

  Returns:
    The middle square (or the whole, if it is square), shrunk by area averages,
    or as `adm_crop` does it.

  Raises:
    UserError: see `check_size`.
  """
  check_size(image.size, resolution, crop, name, enlarge=enlarge)
  if crop == "adm":
    return adm_crop(image, resolution)
  width, height = image.size
  side = min(width, height)
  left, top = (width - side) // 2, (height - side) // 2
  if width != height:
    image = image.crop((left, top, left + side, top + side))
  if side == resolution:
    return image
  return image.resize((resolution, resolution), Image.Resampling.BOX)


def check_size(
  size: tuple[int, int],
  resolution: int,
  crop: str,
  name: str,
  *,
  enlarge: bool = False,
) -> None:
  """Raises UserError if `fit` would not take an image of this size.

  Args:
    size: (width, height).
    resolution: see `fit`, like the others.
    crop: one of `CROPS`.
    name: of the image.
    enlarge: see `fit`.
  """
  width, height = size
  if min(size) < resolution and not (enlarge and crop == "adm"):
    raise UserError(
      f"{name} is {width}x{height}, smaller than the model's "
      f"{resolution}x{resolution}: remove it, or lower the config's resolutions"
    )
  if width != height and crop == "none":
    raise UserError(
      f"{name} is {width}x{height}: make all images squares of one size, or "
      "crop them with crop='center'"
    )


def adm_crop(image: Image.Image, resolution: int) -> Image.Image:
  """The middle of an image as ADM (arXiv 2105.05233) prepares ImageNet.

  It is halved by area averages while its shorter side is at least twice the
  resolution, brought to that side by a bicubic filter, and cropped.

  Args:
    image: an image; one that is smaller is enlarged.
    resolution: the side.

  Returns:
    A square of side `resolution`.
  """
  while min(image.size) >= 2 * resolution:
    width, height = image.size
    image = image.resize((width // 2, height // 2), Image.Resampling.BOX)
  scale = resolution / min(image.size)
  width, height = (round(side * scale) for side in image.size)
  image = image.resize((width, height), Image.Resampling.BICUBIC)
  left, top = ((side - resolution) // 2 for side in image.size)
  return image.crop((left, top, left + resolution, top + resolution))
