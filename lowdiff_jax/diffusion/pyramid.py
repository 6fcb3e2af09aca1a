"""The pyramid of resolutions: how a stage's image comes from its neighbour."""

import jax.numpy as jnp

from lowdiff_jax.types import Array


def downsample(image: Array) -> Array:
  """Halves the resolution by the mean of 2x2 pixels.

  Averaging divides the std of independent noise by 2, so the information level
  of noise sigma at H x W is that of sigma/2 at H/2 x W/2.

  Args:
    image: [B,H,W,C] with even H and W.

  Returns:
    [B,H/2,W/2,C].
  """
  b, h, w, c = image.shape
  return image.reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4))


def upsample(image: Array) -> Array:
  """Doubles the resolution by repeating pixels: [B,H,W,C] -> [B,2H,2W,C]."""
  return jnp.repeat(jnp.repeat(image, 2, 1), 2, 2)


def resize(image: Array, resolution: int) -> Array:
  """Halves or doubles the resolution until it is the one wanted.

  Args:
    image: [B,H,H,C].
    resolution: side wanted, a power of two times or part of the image's.

  Returns:
    [B,resolution,resolution,C].
  """
  while image.shape[1] < resolution:
    image = upsample(image)
  while image.shape[1] > resolution:
    image = downsample(image)
  return image


def pyramid(image: Array | tuple[Array, ...], levels: int) -> tuple[Array, ...]:
  """The image at `levels` resolutions, the lowest first.

  Args:
    image: [B,H,W,C]; or, where the data has its own, the images of at least
      that many resolutions, the lowest first.
    levels: how many to return.

  Returns:
    The images.
  """
  if isinstance(image, tuple):
    return image[-levels:]
  images = [image]
  for _ in range(levels - 1):
    images.append(downsample(images[-1]))
  return tuple(reversed(images))
