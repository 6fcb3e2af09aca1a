"""Writes images to look at: PNGs, grids, strips of stages, denoising GIFs."""

import io
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from lowdiff_jax import files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.data.images import THREADS

# Small images are enlarged to at least this side, by an integer factor.
MIN_CELL = 48
MARGIN = 2
# Size of the grids that the command line writes.
IMAGES, COLUMNS = 100, 10


def write_png(path: AnyPath, image: np.ndarray) -> None:
  """Writes [H,W,C] uint8, C = 1 or 3, atomically."""
  image = image.squeeze(-1) if image.shape[-1] == 1 else image
  encoded = io.BytesIO()
  Image.fromarray(image).save(encoded, format="PNG")
  files.write_bytes(path, encoded.getvalue())


def write_pngs(paths: Iterable[AnyPath], images: np.ndarray) -> None:
  """Writes each image of [N,H,W,C] to its path, in threads; see `write_png`.

  Args:
    paths: of the files; their folders must exist.
    images: as many.

  Raises:
    DiskError: an image could not be written; those not begun then are left out.
  """
  with ThreadPoolExecutor(THREADS) as threads:
    for _ in threads.map(write_png, paths, images):
      pass


def enlarge(images: np.ndarray, side: int) -> np.ndarray:
  """Repeats pixels of [...,H,H,C] to [...,side,side,C]; H divides `side`."""
  factor = side // images.shape[-3]
  return images.repeat(factor, axis=-3).repeat(factor, axis=-2)


def grid(images: np.ndarray, columns: int) -> np.ndarray:
  """Arranges images in one, row by row, on white.

  Args:
    images: [N,H,H,C] uint8; small ones are enlarged.
    columns: of the grid.

  Returns:
    [height,width,C] uint8.
  """
  side = images.shape[1]
  cell = side * -(-MIN_CELL // side)
  images = enlarge(images, cell)
  rows = -(-len(images) // columns)
  step = cell + MARGIN
  shape = (rows * step + MARGIN, columns * step + MARGIN, images.shape[-1])
  canvas = np.full(shape, 255, np.uint8)
  for i, image in enumerate(images):
    top, left = (i // columns) * step + MARGIN, (i % columns) * step + MARGIN
    canvas[top : top + cell, left : left + cell] = image
  return canvas


def strip(stages: Sequence[np.ndarray]) -> np.ndarray:
  """Arranges the results of all stages side by side, a row for each image.

  Args:
    stages: [N,r_k,r_k,C] uint8, the last one of the highest resolution.

  Returns:
    [height,width,C] uint8, of N rows.
  """
  side = stages[-1].shape[1]
  columns = [enlarge(images, side) for images in stages]
  cells = np.stack(columns, axis=1).reshape(
    -1, side, side, columns[0].shape[-1]
  )
  return grid(cells, len(stages))


def write_gif(
  path: AnyPath, trajectories: Sequence[np.ndarray], columns: int
) -> None:
  """Writes the clean estimates at each step of each stage as an animation.

  Args:
    path: the GIF.
    trajectories: [steps_k,N,r_k,r_k,C] of each stage.
    columns: columns of the grid.
  """
  side = trajectories[-1].shape[2]
  frames = [
    Image.fromarray(grid(enlarge(estimate, side), columns).squeeze())
    for stage in trajectories
    for estimate in stage
  ]
  # PIL does not say why, if it cannot write to a file itself.
  encoded = io.BytesIO()
  frames[0].save(
    encoded,
    format="GIF",
    save_all=True,
    append_images=frames[1:],
    duration=[120] * (len(frames) - 1) + [1500],
    loop=0,
  )
  files.write_bytes(path, encoded.getvalue())
