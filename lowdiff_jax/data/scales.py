"""What the images of a source measure at each resolution of a cascade."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from lowdiff_jax.diffusion.settings import Scale, mean_squares
from lowdiff_jax.types import Array, ImageSource


def measure_scales(
  source: ImageSource,
  resolutions: Sequence[int],
  *,
  normalise: Callable[[Any], Any],
  batch_size: int,
) -> list[Scale]:
  """Roots of the mean squares over all images, read batch by batch.

  Args:
    source: the images, of the last resolution.
    resolutions: of the stages, the lowest first.
    normalise: of the codec.
    batch_size: images in memory at a time.

  Returns:
    The scale of each resolution.
  """

  @jax.jit
  def squares(image: Any) -> tuple[Array, Array]:
    return mean_squares(normalise(image), len(resolutions))

  clean, residual = 0.0, 0.0
  for start in range(0, len(source), batch_size):
    picks = np.arange(start, min(start + batch_size, len(source)))
    parts = jax.device_get(squares(source.read(picks).image))
    # Millions of images: float32 would lose digits.
    clean = clean + parts[0].sum(0, dtype=np.float64)
    residual = residual + parts[1].sum(0, dtype=np.float64)
  clean = np.sqrt(clean / len(source)).tolist()
  residual = np.sqrt(residual / len(source)).tolist()
  return list(map(Scale, resolutions, clean, [None, *residual]))
