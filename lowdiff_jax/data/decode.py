"""Decodes image files: upright, 8 bits a channel, gray or RGB.

What a file may hold, and what becomes of it:

  orientation (EXIF)   turned upright
  16 bits a channel    the high byte; 12-bit gray TIFFs likewise
  transparency         composited on a background: alpha channels, palettes with
                       transparent entries, transparent colours
  palettes, CMYK       RGB, before any resizing
  1 bit                gray, 0 and 255
  several frames       the first
  32-bit, signed,      refused: their range is not known
    floating-point

Colour profiles are ignored, as the field's data sets ignore them.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from absl import logging
from PIL import Image, ImageOps

from lowdiff_jax.reading import reason

# Of Pillow; a JPEG may hold several images (MPO).
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
_ENDINGS = ("png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff", "gif")
EXTENSIONS = tuple(f".{ending}" for ending in _ENDINGS)
WHITE = (255, 255, 255)
# Pillow warns of more.
MAX_PIXELS = 89_478_485
_GRAY = ("1", "L", "LA", "La")
_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # Tags of TIFF.


class DecodeError(ValueError):
  """A file is no image of `FORMATS`, damaged or too large; says why."""


class Decoder(NamedTuple):
  """Decodes image files.

  Attributes:
    background: (R, G, B) behind what is transparent, 0 to 255.
    max_pixels: a larger image is refused before it is decoded.
  """

  background: tuple[int, ...] = WHITE
  max_pixels: int = MAX_PIXELS

  def decode(self, file: Path | IO[bytes]) -> Image.Image:
    """The image in a file; the first if there are several.

    Args:
      file: its path, or the open file.

    Returns:
      An image of mode "L" if the file is gray and so is what is behind it,
      else "RGB".

    Raises:
      DecodeError: it is no image, damaged, or has more than `max_pixels`.
    """
    try:
      # Pillow's own limit would come first.
      if self.max_pixels > (Image.MAX_IMAGE_PIXELS or self.max_pixels):
        Image.MAX_IMAGE_PIXELS = self.max_pixels
      with Image.open(file, formats=FORMATS) as image:
        self._check_size(image)
        _say_if_animated(image)
        stored = " ".join(str(tile[-1]) for tile in image.tile)
        image.load()
        tags = dict(getattr(image, "tag_v2", {}))
        narrow = _reduced(_upright(image), stored, tags)
        # Pillow reads 16-bit gray with alpha as RGBA.
        gray = narrow.mode in _GRAY or "LA;16" in stored
        return self._flat(narrow, gray)
    except DecodeError:
      raise
    except Image.UnidentifiedImageError as error:
      raise DecodeError(
        "it is no image, or of a kind that Pillow does not read"
      ) from error
    except Image.DecompressionBombError as error:
      raise DecodeError(
        f"it has more than data.max_pixels = {self.max_pixels} pixels"
      ) from error
    except Exception as error:  # A damaged image can fail in any way.
      raise DecodeError(reason(error)) from error

  def _check_size(self, image: Image.Image) -> None:
    if image.width * image.height > self.max_pixels:
      raise DecodeError(
        f"{image.width}x{image.height} are more pixels than data.max_pixels = "
        f"{self.max_pixels}"
      )

  def _flat(self, image: Image.Image, gray: bool) -> Image.Image:
    """In mode "L" or "RGB", on the background."""
    if image.has_transparency_data:
      gray = gray and len(set(self.background)) == 1
      below = Image.new("RGBA", image.size, (*self.background, 255))
      image = Image.alpha_composite(below, image.convert("RGBA"))
    return image.convert("L" if gray else "RGB")


def is_image(name: str) -> bool:
  """Whether a file's name is that of an image."""
  return name.lower().endswith(EXTENSIONS)


def pixels(image: Image.Image, channels: int) -> np.ndarray:
  """[H,W,channels] uint8 of a decoded image; channels = 1 or 3."""
  array = np.asarray(image.convert("L" if channels == 1 else "RGB"))
  return array.reshape(*array.shape[:2], channels)


def _reduced(
  image: Image.Image, stored: str, tags: Mapping[int, Any]
) -> Image.Image:
  """With 8 bits a channel, where Pillow leaves more.

  Args:
    image: as Pillow loaded it.
    stored: how the file stores it, in Pillow's words ("RGB;16B").
    tags: of a TIFF.

  Returns:
    The image.
  """
  transparent = image.info.get("transparency")
  bits = np.max(tags.get(_BITS, 8))
  if image.mode.startswith("I;16"):
    values: np.ndarray = np.asarray(image).astype(np.uint16)
    values = values << (16 - tags.get(_BITS, (16,))[0])
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
      values = ~values
    reduced = Image.fromarray((values >> 8).astype(np.uint8))
    if isinstance(transparent, int):
      alpha = np.where(values == transparent, 0, 255).astype(np.uint8)
      reduced.putalpha(Image.fromarray(alpha))
    return reduced
  if image.mode in ("I", "F"):
    raise DecodeError(
      "its values are signed or of 32 bits; save it with 8 or 16 unsigned bits"
    )
  if bits > 8 and ";16" not in stored:
    raise DecodeError(f"Pillow does not read {bits} bits in separate planes")
  if isinstance(transparent, tuple) and ";16" in stored:
    image.info["transparency"] = tuple(value >> 8 for value in transparent)
  # Pillow scales the gray values, and not the one that is transparent.
  for depth, scale in (("L;2", 85), ("L;4", 17)):
    if isinstance(transparent, int) and depth in stored:
      image.info["transparency"] = scale * transparent
  return image


def _upright(image: Image.Image) -> Image.Image:
  # A damaged orientation is none.
  with contextlib.suppress(Exception):
    return ImageOps.exif_transpose(image)
  return image


def _say_if_animated(image: Image.Image) -> None:
  animated = False
  # A damaged second frame does not matter.
  with contextlib.suppress(Exception):
    animated = bool(getattr(image, "is_animated", False))
  # Cameras store a preview beside the image as MPO.
  if animated and image.format != "MPO":
    logging.log_first_n(
      logging.WARNING,
      "of animated images and of TIFFs with several pages the first frame is "
      "taken",
      1,
    )
