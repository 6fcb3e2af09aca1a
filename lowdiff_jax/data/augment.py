"""EDM's geometric augmentation, whose labels keep it from leaking.

A training image is flipped, scaled, rotated, stretched and shifted at random,
and the network is told how by nine numbers; at sampling they are all zero,
which means "as it was" (arXiv 2206.00364, appendix F.2). It is applied to the
image of full resolution, before the pyramid, so all stages see the same one.
Everything has a fixed shape and runs inside the training step.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lowdiff_jax.types import Array

# How many numbers tell what was done; see `draw`.
NUM_LABELS = 9
# std of the log2 of scale and stretch, and of the shift in image sides.
SCALE_STD, SHIFT_STD = 0.2, 0.125
# The wavelet sym6: orthonormal, so doubling and halving restores an image.
SYM6 = np.array(
  [
    0.015404109327027373,
    0.0034907120842174702,
    -0.11799011114819057,
    -0.048311742585633,
    0.4910559419267466,
    0.787641141030194,
    0.3379294217276218,
    -0.07263752278646252,
    -0.021060292512300564,
    0.04472490177066578,
    0.0017677118642428036,
    -0.007800708325034148,
  ]
)
_CENTER = 5  # Of 12 taps, the one left of the middle.
# It is not symmetric: by so much, in fine pixels, it moves an image.
_PHASE = 5.5 - (np.arange(12) * SYM6).sum() / SYM6.sum()
# By default a TPU multiplies float32 matrices with 8 bits, a GPU with 10.
_product = functools.partial(jnp.matmul, precision="highest")


def augment(
  key: Array, images: Array, probability: float
) -> tuple[Array, Array]:
  """Distorts images at random.

  Args:
    key: a fresh key for each step.
    images: [B,S,S,C].
    probability: of each operation but the x-flip, which is always drawn.

  Returns:
    Images [B,S,S,C] and labels [B,9].
  """
  inverse, labels = draw(key, images.shape[0], probability)
  flip_x, flip_y = (labels[:, i, None, None, None] > 0 for i in range(2))
  images = jnp.where(flip_x, images[:, :, ::-1], images)
  images = jnp.where(flip_y, images[:, ::-1], images)
  return warp(images, inverse), labels


def draw(key: Array, count: int, probability: float) -> tuple[Array, Array]:
  """Random transforms and their labels.

  In order: flip x (b in {0, 1}); flip y (b); scale by 2^(0.2 w); rotate by
  theta ~ U(-pi, pi); stretch by 2^(+-0.2 w) along axes at an angle r, which is
  U(-pi, pi) or, half of the time, 0; shift by 0.125 (w_x, w_y) sides; each
  w ~ N(0, 1). What is not applied has labels 0.

  Args:
    key: a key.
    count: B.
    probability: of each operation but the x-flip.

  Returns:
    [B,3,3] matrices of all but the flips, which map output to input positions
    (x, y, 1), in image sides from the centre, y downwards; and labels
    [b_x, b_y, w, cos theta - 1, sin theta, w cos r, w sin r, w_x, w_y].
  """
  keys = iter(jax.random.split(key, 14))

  def chosen(value: Array | float, chance: float = probability) -> Array:
    apply = jax.random.bernoulli(next(keys), chance, (count,))
    return jnp.where(apply, value, 0.0)

  def normal() -> Array:
    return jax.random.normal(next(keys), (count,))

  def angle() -> Array:
    return jax.random.uniform(
      next(keys), (count,), minval=-jnp.pi, maxval=jnp.pi
    )

  def coin() -> Array:
    return jax.random.bernoulli(next(keys), 0.5, (count,)).astype(jnp.float32)

  flip_x, flip_y = coin(), chosen(coin())
  scale, theta = chosen(normal()), chosen(angle())
  stretch, axis = chosen(normal()), chosen(angle(), 0.5)
  shifted = chosen(1.0)
  shift_x, shift_y = shifted * normal(), shifted * normal()
  transforms = (
    _scaling(2 ** (-SCALE_STD * scale), 2 ** (-SCALE_STD * scale)),
    _rotation(-theta),
    _rotation(axis),
    _scaling(2 ** (-SCALE_STD * stretch), 2 ** (SCALE_STD * stretch)),
    _rotation(-axis),
    _translation(-SHIFT_STD * shift_x, -SHIFT_STD * shift_y),
  )
  labels = (
    flip_x,
    flip_y,
    scale,
    jnp.cos(theta) - 1,
    jnp.sin(theta),
    stretch * jnp.cos(axis),
    stretch * jnp.sin(axis),
    shift_x,
    shift_y,
  )
  return functools.reduce(_product, transforms), jnp.stack(labels, axis=1)


def warp(images: Array, inverse: Array) -> Array:
  """Resamples images: bilinear at twice the resolution, reflected at the edges.

  Args:
    images: [B,S,S,C].
    inverse: [B,3,3], see `draw`.

  Returns:
    [B,S,S,C]; for the identity, the images themselves.
  """
  side = images.shape[1]
  margin = side - 1  # As far as one reflection reaches.
  fine = _resample(_doubling(side, margin), jnp.moveaxis(images, 3, 1))
  # Where the pixels of the output lie at twice its resolution, and the margin
  # that halving it will use up.
  points = np.arange(-_CENTER, 2 * side + _CENTER) + 0.5 + _PHASE
  points = (points / (2 * side) - 0.5).astype(np.float32)
  x, y = np.meshgrid(points, points)

  def sample(image: Array, matrix: Array) -> Array:
    # No matrix product, which a TPU would round to 8 bits.
    rows, columns = (
      ((m[0] * x + m[1] * y + m[2] + 0.5) * side + margin) * 2 - 0.5 - _PHASE
      for m in (matrix[1], matrix[0])
    )
    return jax.vmap(
      lambda channel: jax.scipy.ndimage.map_coordinates(
        channel, [rows, columns], order=1, mode="constant"
      )
    )(image)

  sampled = jax.vmap(sample)(fine, inverse)
  return jnp.moveaxis(_resample(_halving(side), sampled), 1, 3)


def _resample(matrix: np.ndarray, images: Array) -> Array:
  """Applies a matrix [m,n] to rows and columns: [B,C,n,n] -> [B,C,m,m]."""
  matrix = matrix.astype(np.float32)
  return _product(_product(matrix, images), matrix.T)


def _doubling(side: int, margin: int) -> np.ndarray:
  """y[n] = sum_i x[i] h[n - 2i + 5] of an axis reflected at both ends.

  Args:
    side: length of the axis.
    margin: by how much it is extended at each end.

  Returns:
    [2 (side + 2 margin), side].
  """
  pad = ((margin, margin), (0, 0))
  padded = np.pad(np.eye(side), pad, "reflect")
  return _taps(2 * len(padded), len(padded), _CENTER) @ padded


def _halving(side: int) -> np.ndarray:
  """z[m] = sum_n x[n] h[n - 2m]: [side, 2 side + 10]."""
  return _taps(2 * side + 2 * _CENTER, side, 0).T


def _taps(rows: int, columns: int, offset: int) -> np.ndarray:
  """h[row - 2 column + offset]; zero beyond the taps."""
  index = np.arange(rows)[:, None] - 2 * np.arange(columns) + offset
  inside = (index >= 0) & (index < len(SYM6))
  return np.where(inside, SYM6[index.clip(0, len(SYM6) - 1)], 0.0)


def _matrix(rows: Sequence[Any]) -> Array:
  """[B,3,3] from nine numbers or [B] arrays."""
  count = max(jnp.size(v) for row in rows for v in row)
  full = [[jnp.broadcast_to(v, (count,)) for v in row] for row in rows]
  return jnp.stack([jnp.stack(row, -1) for row in full], -2)


def _scaling(x: Array, y: Array) -> Array:
  return _matrix([[x, 0.0, 0.0], [0.0, y, 0.0], [0.0, 0.0, 1.0]])


def _rotation(angle: Array) -> Array:
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  return _matrix([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def _translation(x: Array | float, y: Array | float) -> Array:
  return _matrix([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])
