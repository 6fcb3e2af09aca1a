"""A split of images as random access, and how a picture is made to fit.

An image must be a square of at least the model's resolution; a larger one is
shrunk by averaging areas. With crop="center" its middle square is taken first.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from lowdiff_jax.interfaces import Batch, ImageSpec, UserError

CROPS = ("none", "center")
# Splits that take less than this are decoded once and held in memory.
MEMORY_LIMIT = 2 << 30


@dataclasses.dataclass(frozen=True)
class Images:
  """One split, decoded when it is read; an `interfaces.ImageSource`.

  Attributes:
    spec: resolution, channels and number of classes.
    class_names: one for each class.
    count: number of images.
    decode: index -> (image [H,W,C] uint8, label).
  """

  spec: ImageSpec
  class_names: tuple[str, ...]
  count: int
  decode: Callable[[int], tuple[np.ndarray, int]]

  def __len__(self) -> int:
    return self.count

  def read(self, indices: Sequence[int]) -> Batch:
    """The images and labels of `indices`."""
    images, labels = zip(*(self.decode(int(i)) for i in indices), strict=True)
    return Batch(np.stack(images), np.asarray(labels, np.int32))


@dataclasses.dataclass(frozen=True)
class ImagesInMemory:
  """One split as arrays; an `interfaces.ImageSource`."""

  spec: ImageSpec
  class_names: tuple[str, ...]
  batch: Batch

  def __len__(self) -> int:
    return len(self.batch.label)

  def read(self, indices: Sequence[int]) -> Batch:
    """The images and labels of `indices`."""
    return Batch(self.batch.image[indices], self.batch.label[indices])


def in_memory(images: Images) -> Images | ImagesInMemory:
  """Decodes a split that takes less than `MEMORY_LIMIT`, once."""
  side, channels = images.spec.resolution, images.spec.channels
  if len(images) * side * side * channels > MEMORY_LIMIT:
    return images
  batch = images.read(range(len(images)))
  return ImagesInMemory(images.spec, images.class_names, batch)


def fit(
  image: Image.Image, resolution: int, crop: str, name: str
) -> Image.Image:
  """The image as a square of side `resolution`.

  Args:
    image: a picture.
    resolution: the side.
    crop: one of `CROPS`.
    name: of the image, for the error.

  Returns:
    The middle square (or the whole, if it is square), shrunk by area averages.

  Raises:
    UserError: the image is too small, or not square and not to be cropped.
  """
  width, height = image.size
  side = min(width, height)
  if side < resolution:
    raise UserError(
      f"{name} is {width}x{height}, smaller than the model's "
      f"{resolution}x{resolution}: remove it, or lower the config's resolutions"
    )
  if width != height:
    if crop == "none":
      raise UserError(
        f"{name} is {width}x{height}: make all images squares of one size, or "
        "set --config.data.crop=center"
      )
    left, top = (width - side) // 2, (height - side) // 2
    image = image.crop((left, top, left + side, top + side))
  if side == resolution:
    return image
  return image.resize((resolution, resolution), Image.Resampling.BOX)


def hold_out(count: int, part: float) -> tuple[list[int], list[int]]:
  """(train, test): which images of a set without a test split are held out.

  Args:
    count: number of images.
    part: to hold out, evenly spread and at least two images: with 0.1, every
      tenth. With 0, all are trained on and every tenth of them is "held out",
      so that the validation loss is one of training images.

  Returns:
    The indices of both.
  """
  share = part or 0.1
  test = [i for i in range(count) if int((i + 1) * share) > int(i * share)]
  if len(test) < 2:
    test = [count - 2, count - 1]
  held = set(test if part else ())
  return [i for i in range(count) if i not in held], test
