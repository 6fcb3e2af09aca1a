"""The user's own arrays in an .npz: images and, if there are any, labels."""

from pathlib import Path

import numpy as np
from PIL import Image

from lowdiff_jax.data import npz
from lowdiff_jax.data.decode import pixels
from lowdiff_jax.data.held_out import hold_out
from lowdiff_jax.data.images import Images, check_size, fit
from lowdiff_jax.data.labels import name_untrained
from lowdiff_jax.types import NO_LABEL, ImageSpec, UserError


def open_npz_set(
  path: Path, resolution: int, crop: str, part: float
) -> tuple[Images, Images]:
  """Train and held-out images of an .npz.

  Args:
    path: with "arr_0" or "images", uint8 [N,H,W,C] with C = 1 or 3, and
      perhaps "labels" or "arr_1" [N].
    resolution: side of the images to return.
    crop: one of `images.CROPS`.
    part: of the images to hold out, see `held_out.hold_out`.

  Returns:
    Both splits.

  Raises:
    UserError: no such arrays, too few images, or of a size that does not fit.
  """
  if not path.is_file():
    raise UserError(f"there is no file {path}")
  arrays = npz.open_images(path)
  count, height, width, channels = arrays.shape
  if channels not in (1, 3) or count < 4:
    raise UserError(
      f"{path} has {count} images of {channels} channels: expected at least 4 "
      "images of 1 or 3 channels"
    )
  check_size((width, height), resolution, crop, f"an image of {path}")
  labels = npz.read_labels(path, count)
  classes: tuple[str, ...] = ()
  if labels is not None:
    classes = tuple(map(str, range(int(labels.max()) + 1)))
  spec = ImageSpec(resolution, channels, len(classes))

  def images(picks: list[int]) -> Images:
    def decode(i: int) -> tuple[np.ndarray, int]:
      array = arrays[picks[i]]
      image = Image.fromarray(array[..., 0] if channels == 1 else array)
      image = fit(image, resolution, crop, f"image {picks[i]} of {path}")
      label = NO_LABEL if labels is None else int(labels[picks[i]])
      return pixels(image, channels), label

    return Images(spec, classes, len(picks), decode)

  train, test = hold_out(count, part, labels)
  if labels is not None:
    name_untrained(classes, labels[train], str(path))
  return images(train), images(test)
