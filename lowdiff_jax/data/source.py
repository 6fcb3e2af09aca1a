"""Where images come from: a TFDS set, a folder, a zip or an .npz."""

import hashlib
from pathlib import Path

from lowdiff_jax import files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.data.datasets.folder import open_folder
from lowdiff_jax.data.datasets.npz_set import open_npz_set
from lowdiff_jax.data.datasets.tfds_set import data_folder, open_tfds
from lowdiff_jax.data.decode import Decoder
from lowdiff_jax.data.images import in_memory
from lowdiff_jax.types import ImageSource, UserError

KINDS = "tfds:<name>, folder:<path>, zip:<path> or npz:<path>"


def open_splits(
  name: str,
  *,
  resolution: int,
  crop: str = "none",
  data_dir: str = "",
  hold_out: float = 0.1,
  decoder: Decoder = Decoder(),  # noqa: B008  # It is immutable.
) -> tuple[ImageSource, ImageSource]:
  """Opens the training images and the held-out ones.

  A TFDS set gives its splits "train" and "test" (or "validation"); where there
  is but one split, as in a folder, a part of it is held out. With a folder and
  a zip the survey of its files is kept in "surveys" beside TFDS's sets.

  Args:
    name: "tfds:<name>" of any set with a feature "image" and, if it has
      classes, "label"; "folder:<path>" or "zip:<path>" of image files, with
      classes by subfolders or by dataset.json; "npz:<path>" of arrays.
    resolution: side of the images to return.
    crop: one of `CROPS`.
    data_dir: where TFDS keeps its sets; "" for its own default.
    hold_out: the part of the images, 0 to 0.5, to hold out of a single split.
      With 0 all are trained on, and a tenth of them is returned as test too.
    decoder: of image files.

  Returns:
    (train, test).

  Raises:
    UserError: what is missing, or which image does not fit.
  """
  kind, _, place = name.partition(":")
  if not place or kind not in ("tfds", "folder", "zip", "npz"):
    raise UserError(f"{name!r}: expected {KINDS}")
  path = files.local(files.expanded(place))
  if kind == "tfds":
    splits = open_tfds(place, resolution, crop, data_dir, hold_out, decoder)
  elif kind == "npz":
    splits = open_npz_set(path, resolution, crop, hold_out)
  else:
    splits = open_folder(
      path,
      resolution=resolution,
      crop=crop,
      part=hold_out,
      decoder=decoder,
      kept=_survey_file(path, data_dir),
    )
  train, test = splits
  return (
    in_memory(train, at_once=not train.known),
    in_memory(test, at_once=not test.known),
  )


def _survey_file(path: Path, data_dir: str) -> AnyPath:
  place = str(files.absolute(path))
  key = hashlib.sha256(place.encode()).hexdigest()
  name = f"{path.stem}_{key[:12]}.json"
  return data_folder(data_dir) / "surveys" / name
