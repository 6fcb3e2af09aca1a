"""Where images come from: `tfds:<name>` or `folder:<path>`."""

from pathlib import Path

from lowdiff_jax.data.datasets.folder import open_folder
from lowdiff_jax.data.datasets.tfds_set import open_tfds
from lowdiff_jax.data.images import in_memory
from lowdiff_jax.types import ImageSource, UserError


def open_splits(
  name: str,
  *,
  resolution: int,
  crop: str = "none",
  data_dir: str = "",
  hold_out: float = 0.1,
) -> tuple[ImageSource, ImageSource]:
  """Opens the training images and the held-out ones.

  A TFDS set gives its splits "train" and "test" (or "validation"); where there
  is but one split, as in a folder, a part of it is held out.

  Args:
    name: "tfds:<name>" of any set with a feature "image" and, if it has
      classes, "label"; or "folder:<path>" of PNG, JPEG, WebP or BMP files, in
      one subfolder for each class if there are classes.
    resolution: side of the images to return.
    crop: one of `CROPS`.
    data_dir: where TFDS keeps its sets; "" for its own default.
    hold_out: the part of the images, 0 to 0.5, to hold out of a single split.
      With 0 all are trained on, and a tenth of them is returned as test too.

  Returns:
    (train, test).

  Raises:
    UserError: what is missing, or which image does not fit.
  """
  kind, _, place = name.partition(":")
  if kind == "tfds" and place:
    splits = open_tfds(place, resolution, crop, data_dir, hold_out)
  elif kind == "folder" and place:
    splits = open_folder(Path(place).expanduser(), resolution, crop, hold_out)
  else:
    raise UserError(f"{name!r}: expected tfds:<name> or folder:<path>")
  train, test = splits
  return in_memory(train), in_memory(test)
