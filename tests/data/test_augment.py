"""Geometric augmentation: what it does to an image, and what it says of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lowdiff_jax.data import augment

RNG = np.random.default_rng(0)
IMAGES = jnp.asarray(RNG.normal(size=(2, 16, 16, 3)), jnp.float32)


def smooth(side=32):
  """A blob off the centre, which resampling does not blur."""
  y, x = np.mgrid[:side, :side] / side - 0.5
  blob = np.exp(-((x - 0.1) ** 2 + (y + 0.05) ** 2) / 0.02)
  return jnp.asarray(blob[None, :, :, None], jnp.float32)


def centroid(image):
  """(x, y) in image sides from the centre."""
  side = image.shape[1]
  points = (np.arange(side) + 0.5) / side - 0.5
  weight = image[0, :, :, 0] / image.sum()
  return np.array(
    [(weight.sum(0) * points).sum(), (weight.sum(1) * points).sum()]
  )


def matrix(*rows):
  return jnp.asarray([[*rows, [0.0, 0.0, 1.0]]], jnp.float32)


def test_the_wavelet_is_orthonormal():
  for shift in range(0, 12, 2):
    product = (augment.SYM6[shift:] * augment.SYM6[: 12 - shift]).sum()
    np.testing.assert_allclose(product, float(shift == 0), atol=1e-9)
  np.testing.assert_allclose(augment.SYM6.sum(), 2**0.5, rtol=1e-9)


def test_identity_and_flips_are_exact():
  images = jnp.tile(IMAGES[:1], (64, 1, 1, 1))
  flipped, labels = augment.augment(jax.random.key(0), images, 0.0)
  assert 0 < labels[:, 0].sum() < 64
  for image, label in zip(flipped, labels, strict=True):
    expected = IMAGES[0, :, :: -1 if label[0] else 1]
    np.testing.assert_allclose(image, expected, atol=1e-4)
  for x, y in ((-1, 1), (1, -1), (-1, -1)):
    flip = jnp.diag(jnp.array([x, y, 1.0]))[None]
    flipped = augment.warp(smooth(), flip)
    np.testing.assert_allclose(flipped, smooth()[:, ::y, ::x], atol=1e-2)


def test_a_shift_of_whole_pixels():
  inverse = matrix([1.0, 0.0, -3 / 16], [0.0, 1.0, 2 / 16])
  shifted = augment.warp(IMAGES[:1], inverse)
  expected = jnp.roll(IMAGES[:1], (3, -2), axis=(2, 1))
  inside = (slice(None), slice(4, 10), slice(7, 12))
  np.testing.assert_allclose(shifted[inside], expected[inside], atol=1e-4)


def test_a_quarter_turn():
  quarter = matrix([0.0, -1.0, 0.0], [1.0, 0.0, 0.0])
  turned = augment.warp(smooth(), quarter)
  x, y = centroid(smooth())
  # The inverse takes (x', y') to (-y', x') = (x, y).
  np.testing.assert_allclose(centroid(turned), [y, -x], atol=2e-3)


def test_constant_images_stay_constant():
  """Edges are reflected; nothing dark comes in within one image's width."""
  inverse, _ = augment.draw(jax.random.key(0), 16, 1.0)
  inverse = inverse.at[:, :2, 2].multiply(0.2)
  warped = augment.warp(jnp.ones((16, 16, 16, 1)), inverse)
  centre = warped[:, 4:12, 4:12]
  np.testing.assert_allclose(centre, 1.0, atol=1e-3)


def test_what_is_not_applied_has_no_label():
  inverse, labels = augment.draw(jax.random.key(0), 1000, 0.0)
  assert abs(labels[:, 0].mean() - 0.5) < 0.05
  np.testing.assert_array_equal(labels[:, 1:], 0)
  identity = np.eye(3)[None].repeat(1000, 0)
  np.testing.assert_allclose(inverse, identity, atol=1e-6)


def test_statistics_of_the_labels():
  _, labels = augment.draw(jax.random.key(1), 20_000, 0.25)
  labels = np.asarray(labels)
  flip_x, flip_y, scale, cos, sin, along, across, x, y = labels.T
  assert abs(flip_x.mean() - 0.5) < 0.02
  assert abs(flip_y.mean() - 0.125) < 0.01
  for value in (scale, cos, np.hypot(along, across), x, y):
    assert abs((value != 0).mean() - 0.25) < 0.02
  for value in (scale, x, y, np.hypot(along, across)):
    assert abs(np.square(value).mean() - 0.25) < 0.03
  turned = cos != 0
  np.testing.assert_allclose((cos[turned] + 1) ** 2 + sin[turned] ** 2, 1, 1e-4)
  assert abs(cos[turned].mean() + 1) < 0.05
  # Half of the stretches are along the image's own axes.
  stretched = along != 0
  assert abs((across[stretched] == 0).mean() - 0.5) < 0.03
  # Both shifts, or neither.
  np.testing.assert_array_equal(x != 0, y != 0)


@pytest.mark.parametrize("index", [2, 7, 8])
def test_labels_say_what_was_done(index):
  """A positive scale enlarges, a positive shift moves right or down."""
  key, count = jax.random.key(3), 400
  inverse, labels = augment.draw(key, count, 0.2)
  others = np.delete(np.asarray(labels), index, axis=1)
  alone = np.flatnonzero((others[:, :6] == 0).all(1) & (labels[:, index] != 0))
  assert len(alone) > 2
  for i in alone[:5]:
    offset = np.asarray(inverse[i, :2, 2])
    if index == 2:
      factor = 2 ** (-0.2 * labels[i, 2])
      np.testing.assert_allclose(inverse[i, 0, 0], factor, rtol=1e-5)
    else:
      np.testing.assert_allclose(offset, -0.125 * labels[i, 7:], atol=1e-5)


def test_shape_is_static_and_jits():
  distort = jax.jit(augment.augment, static_argnums=2)
  images, labels = distort(jax.random.key(0), IMAGES, 0.5)
  assert images.shape == IMAGES.shape and labels.shape == (2, 9)
  assert jnp.isfinite(images).all()
