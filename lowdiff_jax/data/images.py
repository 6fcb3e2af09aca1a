"""A split of images as random access, and how a image is made to fit.

An image must be a square of at least the model's resolution; a larger one is
shrunk by averaging areas. With crop="center" its middle square is taken first.
With crop="adm" it is shrunk and cropped as ADM does it, the custom of ImageNet.
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import numpy as np
from PIL import Image

from lowdiff_jax.types import Batch, ImageSource, ImageSpec, UserError

CROPS = ("none", "center", "adm")
# Splits that take less than this are decoded once and held in memory.
MEMORY_LIMIT = 2 << 30


@dataclasses.dataclass(frozen=True)
class Images:
  """One split, decoded when it is read; a `types.ImageSource`.

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

  def read(self, indices: Sequence[int] | np.ndarray) -> Batch:
    """The images and labels of `indices`."""
    images, labels = zip(*(self.decode(int(i)) for i in indices), strict=True)
    return Batch(np.stack(images), np.asarray(labels, np.int32))


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


def in_memory(source: ImageSource) -> ImageSource:
  """Reads a split that takes less than `MEMORY_LIMIT`, once."""
  one = jax.tree.leaves(source.read([0]))
  if len(source) * sum(array.nbytes for array in one) > MEMORY_LIMIT:
    return source
  batch = source.read(range(len(source)))
  return ImagesInMemory(source.spec, tuple(source.class_names), batch)


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
    image: a image.
    resolution: the side.
    crop: one of `CROPS`.
    name: of the image, for the error.
    enlarge: a smaller image is no mistake if it is cropped as ADM does it.

  Returns:
    The middle square (or the whole, if it is square), shrunk by area averages,
    or as `adm_crop` does it.

  Raises:
    UserError: the image is too small, or not square and not to be cropped.
  """
  width, height = image.size
  side = min(width, height)
  if side < resolution and not (enlarge and crop == "adm"):
    raise UserError(
      f"{name} is {width}x{height}, smaller than the model's "
      f"{resolution}x{resolution}: remove it, or lower the config's resolutions"
    )
  if crop == "adm":
    return adm_crop(image, resolution)
  if width != height:
    if crop == "none":
      raise UserError(
        f"{name} is {width}x{height}: make all images squares of one size, or "
        "crop them with crop='center'"
      )
    left, top = (width - side) // 2, (height - side) // 2
    image = image.crop((left, top, left + side, top + side))
  if side == resolution:
    return image
  return image.resize((resolution, resolution), Image.Resampling.BOX)


def adm_crop(image: Image.Image, resolution: int) -> Image.Image:
  """The middle of a image as ADM (arXiv 2105.05233) prepares ImageNet.

  It is halved by area averages while its shorter side is at least twice the
  resolution, brought to that side by a bicubic filter, and cropped.

  Args:
    image: a image; one that is smaller is enlarged.
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
