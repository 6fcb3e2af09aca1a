"""Where a token is: tables that are computed, never trained."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from lowdiff_jax.types import Array


def phases(position: Any, count: int) -> Any:
  """position * 10000^(-i/count) for i < count: [...] -> [..., count]."""
  return position[..., None] * 10000.0 ** (-np.arange(count) / count)


def sincos_table(positions: np.ndarray, features: int) -> np.ndarray:
  """The fixed embedding of a grid's columns, then of its rows.

  Each is [sin(p f_i), cos(p f_i)] with f_i = 10000^(-4i/features).

  Args:
    positions: [side] along either axis.
    features: a multiple of 4.

  Returns:
    [side^2, features] float32, row by row.
  """
  row, column = _grid(positions)
  angles = [phases(p, features // 4) for p in (column, row)]
  waves = [wave(a) for a in angles for wave in (np.sin, np.cos)]
  return np.concatenate(waves, axis=1, dtype=np.float32)


def rotary_table(
  positions: np.ndarray, features: int
) -> tuple[np.ndarray, np.ndarray]:
  """Cosine and sine of the angle that each pair of channels is turned by.

  The angles are p f_i with f_i = 10000^(-4i/features), of the row p for the
  first half of the pairs and of the column for the rest.

  Args:
    positions: [side] along either axis.
    features: of a head, a multiple of 4.

  Returns:
    Two [side^2, 1, features / 2] float32, the axis of length 1 for the heads.
  """
  axes = [phases(p, features // 4) for p in _grid(positions)]
  angles = np.concatenate(axes, axis=1)[:, None]
  return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def _grid(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The row and the column of each token, row by row."""
  grid = np.meshgrid(positions, positions, indexing="ij")
  return grid[0].ravel(), grid[1].ravel()


def rotate(x: Array, cos: Array, sin: Array) -> Array:
  """Turns each pair of neighbouring channels (arXiv 2104.09864, equation 15).

  Args:
    x: [B,T,heads,D].
    cos, sin: of the angles, [T,1,D/2]; see `rotary_table`.

  Returns:
    [B,T,heads,D] float32.
  """
  first, second = x[..., ::2], x[..., 1::2]
  turned = (first * cos - second * sin, second * cos + first * sin)
  return jnp.stack(turned, axis=-1).reshape(x.shape)
