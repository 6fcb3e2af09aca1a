"""What a run trains on and validates on; from arrays too."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lowdiff_jax.data.held_out import hold_out
from lowdiff_jax.data.images import ImagesInMemory
from lowdiff_jax.data.labels import check_labels
from lowdiff_jax.data.latents.info import LatentInfo
from lowdiff_jax.types import NO_LABEL, Batch, ImageSource, ImageSpec


class Data(NamedTuple):
  """Training and held-out images.

  Attributes:
    train: to train on.
    test: held out.
    latents: how they were encoded; None for pixels.
  """

  train: ImageSource
  test: ImageSource
  latents: LatentInfo | None = None


def from_arrays(
  images: np.ndarray,
  labels: Sequence[int] | np.ndarray | None = None,
  *,
  part_held_out: float = 0.1,
) -> Data:
  """A data set from arrays in memory.

  Args:
    images: [N,R,R,C] uint8, N at least 4, C = 1 or 3.
    labels: [N] classes, counted from 0; None without classes.
    part_held_out: of the images, 0 to 0.5; with 0 all are trained on, and a
      tenth of them validates.

  Returns:
    Training and held-out images.

  Raises:
    ValueError: arrays of other shapes or types.
  """
  images = np.asarray(images)
  square = images.ndim == 4 and images.shape[1] == images.shape[2]
  if images.dtype != np.uint8 or not square or images.shape[-1] not in (1, 3):
    raise ValueError(
      f"images are {images.dtype} {images.shape}: expected uint8 [N,R,R,C] "
      "with C = 1 or 3"
    )
  if len(images) < 4:
    raise ValueError(f"{len(images)} images: expected at least 4")
  if not 0 <= part_held_out <= 0.5:
    raise ValueError(f"part_held_out={part_held_out}: expected 0 to 0.5")
  classes, num_classes = np.full(len(images), NO_LABEL, np.int32), 0
  if labels is not None:
    classes = check_labels(labels, len(images), "from_arrays")
    num_classes = int(classes.max()) + 1
  spec = ImageSpec(images.shape[1], images.shape[-1], num_classes)
  names = tuple(map(str, range(num_classes)))

  def split(picks: list[int]) -> ImagesInMemory:
    return ImagesInMemory(spec, names, Batch(images[picks], classes[picks]))

  train, test = hold_out(
    len(images), part_held_out, None if labels is None else classes
  )
  return Data(split(train), split(test))
