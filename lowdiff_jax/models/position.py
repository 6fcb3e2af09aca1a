"""Position embeddings of tokens: fixed sin-cos tables and rotary embeddings."""

from typing import TypeVar

import jax.numpy as jnp
import numpy as np

from lowdiff_jax.types import Array

_Positions = TypeVar("_Positions", Array, np.ndarray)


def phases(position: _Positions, count: int) -> _Positions:
  """position * 10000^(-i/count) for i < count: [...] -> [..., count]."""
  return position[..., None] * 10000.0 ** (-np.arange(count) / count)


def sincos_table(positions: np.ndarray, features: int) -> np.ndarray:
  """The fixed 2D sin-cos embedding of DiT (arXiv 2212.09748).

  [sin(p f_i), cos(p f_i)] with f_i = 10000^(-4i/features), for p the column and
  then for p the row of each token.

  Args:
    positions: [side], along both axes.
    features: size of the embedding, a multiple of 4.

  Returns:
    [side^2, features] float32, tokens row by row.
  """
  row, column = _grid(positions)
  angles = [phases(p, features // 4) for p in (column, row)]
  waves = [wave(a) for a in angles for wave in (np.sin, np.cos)]
  return np.concatenate(waves, axis=1, dtype=np.float32)


def rotary_table(
  positions: np.ndarray, features: int
) -> tuple[np.ndarray, np.ndarray]:
  """Cosine and sine of the rotation angle of each pair of channels.

  The angles are p f_i with f_i = 10000^(-4i/features), where p is the row of
  the token for the first half of the pairs and the column for the second.

  Args:
    positions: [side], along both axes.
    features: number of channels of a head, a multiple of 4.

  Returns:
    Two [side^2, 1, features / 2] float32, to broadcast over the heads.
  """
  halves = [phases(p, features // 4) for p in _grid(positions)]
  angles = np.concatenate(halves, axis=1)[:, None]
  return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def _grid(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The row and the column of each token, [side^2] each, row by row."""
  row, column = np.meshgrid(positions, positions, indexing="ij")
  return row.ravel(), column.ravel()


def halves(features: int) -> np.ndarray:
  """The order of a head's channels that `rotate` takes: even ones, odd ones.

  The published rotation pairs neighbours. Arrays that end in an axis of two, as
  it makes them, take 64 times their size on a TPU.
  """
  return np.concatenate([np.arange(0, features, 2), np.arange(1, features, 2)])


def rotate(x: Array, cos: Array | np.ndarray, sin: Array | np.ndarray) -> Array:
  """Rotates channels i and i + D/2 (arXiv 2104.09864, equation 15).

  Args:
    x: [B,T,heads,D], its channels in the order of `halves`.
    cos, sin: cosines and sines of the angles, [T,1,D/2]; see `rotary_table`.

  Returns:
    [B,T,heads,D] float32.
  """
  first, second = jnp.split(x, 2, axis=-1)
  rotated = (first * cos - second * sin, second * cos + first * sin)
  return jnp.concatenate(rotated, axis=-1)
