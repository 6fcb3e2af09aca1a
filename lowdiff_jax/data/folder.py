"""A folder of the user's own pictures; a subfolder for each class, if any."""

from pathlib import Path

import numpy as np
from absl import logging
from PIL import Image

from lowdiff_jax.data.images import Images, fit, hold_out
from lowdiff_jax.interfaces import NO_LABEL, ImageSpec, UserError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


def open_folder(
  root: Path, resolution: int, crop: str
) -> tuple[Images, Images]:
  """Train and test images of a folder; unreadable files are named and left."""
  if not root.is_dir():
    raise UserError(f"config.data.source: there is no folder {root}")
  files = sorted(
    path for path in root.rglob("*") if path.suffix.lower() in EXTENSIONS
  )
  if not files:
    raise UserError(
      f"config.data.source: no image in {root} ({' '.join(EXTENSIONS)})"
    )
  folders = [path.relative_to(root).parts[0] for path in files]
  names = tuple(sorted(set(folders)))
  if all(path.parent == root for path in files):
    names = ()
  elif any(path.parent == root for path in files):
    raise UserError(
      f"config.data.source: {root} holds images both in subfolders (classes) "
      "and beside them; move them into one or the other"
    )
  files, channels = _readable(files, resolution, crop)
  if len(files) < 2:
    raise UserError(
      f"config.data.source: fewer than 2 readable images in {root}"
    )
  spec = ImageSpec(resolution, channels, len(names))

  def images(picks):
    def decode(i):
      path = files[picks[i]]
      picture = Image.open(path).convert("L" if channels == 1 else "RGB")
      picture = fit(picture, resolution, crop, str(path))
      label = NO_LABEL
      if names:
        label = names.index(path.relative_to(root).parts[0])
      return np.asarray(picture).reshape(
        resolution, resolution, channels
      ), label

    return Images(spec, names, len(picks), decode)

  return tuple(images(picks) for picks in hold_out(len(files)))


def _readable(files, resolution, crop):
  """The files that decode and their number of channels."""
  readable, grey = [], True
  first = None
  for path in files:
    try:
      with Image.open(path) as picture:
        picture.load()
        size, mode = picture.size, picture.mode
        fit(picture, resolution, crop, str(path))
    except UserError:
      raise
    except (OSError, SyntaxError, ValueError) as error:
      logging.warning("skipped the unreadable image %s (%s)", path, error)
      continue
    first = first or (path, size)
    if crop == "none" and size != first[1]:
      raise UserError(
        f"{path} is {size[0]}x{size[1]} but {first[0]} is "
        f"{first[1][0]}x{first[1][1]}: make all images squares of one size, or "
        "set --config.data.crop=center"
      )
    grey = grey and mode in ("1", "L", "LA")
    readable.append(path)
  return readable, 1 if grey else 3
