"""Image files as people have them: what each becomes, pixel by pixel."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from lowdiff_jax.data.decode import DecodeError, Decoder, pixels
from tests.data.hand_written import (
  png_of,
  png_of_16_bits,
  rgb_tiff_of_16_bits,
)

# Red above blue, its top left 4x4 yellow.
UPRIGHT = np.zeros((16, 16, 3), np.uint8)
UPRIGHT[:8], UPRIGHT[8:] = (200, 40, 10), (20, 60, 220)
UPRIGHT[:4, :4] = (240, 230, 20)
# EXIF orientation -> how its pixels are stored.
STORED = {
  1: lambda x: x,
  2: lambda x: x[:, ::-1],
  3: lambda x: x[::-1, ::-1],
  4: lambda x: x[::-1],
  5: lambda x: x.swapaxes(0, 1),
  6: lambda x: np.rot90(x, 1),
  7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
  8: lambda x: np.rot90(x, -1),
}
RAMP = np.arange(256, dtype=np.uint16).reshape(16, 16)
ORIENTATION = 0x0112


def encode(image, kind="PNG", **kwargs):
  if isinstance(image, np.ndarray):
    image = Image.fromarray(np.ascontiguousarray(image))
  file = io.BytesIO()
  image.save(file, kind, **kwargs)
  return io.BytesIO(file.getvalue())


def oriented(pixels, orientation, kind="PNG", **kwargs):
  exif = Image.Exif()
  exif[ORIENTATION] = orientation
  return encode(STORED[orientation](pixels), kind, exif=exif, **kwargs)


def decode(file, **settings):
  return np.asarray(Decoder(**settings).decode(file))


@pytest.mark.parametrize(
  ("kind", "settings"),
  [
    ("PNG", {}),
    ("TIFF", {}),
    ("WEBP", {"lossless": True}),
    ("JPEG", {"quality": 100, "subsampling": 0}),
  ],
)
@pytest.mark.parametrize("orientation", STORED)
def test_turned_upright(orientation, kind, settings):
  image = decode(oriented(UPRIGHT, orientation, kind, **settings))
  np.testing.assert_allclose(image.astype(int), UPRIGHT, atol=3)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_images_are_turned_too(mode, kind):
  image = Image.fromarray(UPRIGHT.swapaxes(0, 1)).convert("RGBA")
  image.putpixel((0, 0), (0, 0, 0, 0))
  if mode == "P":
    settings = {"transparency": 0} if kind == "PNG" else {}
    image = image.convert("RGB").quantize(4)
  else:
    settings, image = {}, image.convert(mode)
  exif = Image.Exif()
  exif[ORIENTATION] = 5
  settings |= {"lossless": True} if kind == "WEBP" else {}
  turned = decode(encode(image, kind, exif=exif, **settings))
  plain = decode(encode(image, kind, **settings))
  np.testing.assert_array_equal(turned, plain.swapaxes(0, 1))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_gray(kind):
  """One channel, scaled to 0 ... 255."""
  np.testing.assert_array_equal(decode(encode(RAMP * 257, kind)), RAMP)
  turned = decode(oriented(RAMP * 257, 6, kind))
  np.testing.assert_array_equal(turned, RAMP)


@pytest.mark.parametrize(("depth", "scale"), [(1, 255), (2, 85), (4, 17)])
def test_gray_of_few_bits_and_a_transparent_value(depth, scale):
  values = np.arange(64).reshape(8, 8) % 2**depth
  bits = (values[..., None] >> np.arange(depth)[::-1]) & 1
  rows = [np.packbits(row).tobytes() for row in bits.reshape(8, -1)]
  image = decode(png_of(depth, 0, (8, 8), rows))
  np.testing.assert_array_equal(image, values * scale)
  tag = (b"tRNS", struct.pack(">H", 1))
  image = decode(png_of(depth, 0, (8, 8), rows, tag), background=(9, 9, 9))
  expected = np.where(values == 1, 9, values * scale)
  np.testing.assert_array_equal(image, expected)


def test_16_bit_rgb_and_gray_with_alpha():
  wide = UPRIGHT.astype(np.uint16) * 257
  np.testing.assert_array_equal(decode(png_of_16_bits(wide, 2)), UPRIGHT)
  gray = np.stack([RAMP * 257, np.full_like(RAMP, 65535)], -1)
  np.testing.assert_array_equal(decode(png_of_16_bits(gray, 4)), RAMP)
  gray[:8, :, 1] = 0
  expected = np.where(np.arange(16)[:, None] < 8, 255, RAMP)
  np.testing.assert_array_equal(decode(png_of_16_bits(gray, 4)), expected)


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_rgb_tiff(order):
  wide = UPRIGHT.astype(np.uint16) * 257
  image = decode(rgb_tiff_of_16_bits(wide, order, 1))
  np.testing.assert_array_equal(image, UPRIGHT)
  # Pillow would take one byte of two.
  with pytest.raises(DecodeError, match="16 bits in separate planes"):
    decode(rgb_tiff_of_16_bits(wide, order, 2))


def test_transparency_lies_on_the_background():
  alpha = np.zeros((16, 16), np.uint8)
  alpha[4:12, 4:12] = 255
  hidden = UPRIGHT.copy()
  hidden[alpha == 0] = (255, 0, 255)
  rgba = np.dstack([hidden, alpha])
  for background in ((255, 255, 255), (0, 10, 200)):
    expected = np.where(alpha[..., None] == 255, UPRIGHT, background)
    for kind in ("PNG", "TIFF"):
      image = decode(encode(rgba, kind), background=background)
      np.testing.assert_array_equal(image, expected)
  half = np.dstack([UPRIGHT, np.full((16, 16), 51, np.uint8)])
  expected = 0.2 * UPRIGHT + 0.8 * 255
  np.testing.assert_allclose(decode(encode(half)), expected, atol=1)


def test_gray_with_alpha_stays_gray_on_gray():
  gray = np.dstack([np.full((16, 16), 100, np.uint8), RAMP.astype(np.uint8)])
  file = encode(Image.fromarray(gray, "LA"))
  image = decode(file)
  expected = 100 * (RAMP / 255) + 255 * (1 - RAMP / 255)
  assert image.shape == (16, 16)
  np.testing.assert_allclose(image, expected, atol=1)
  assert decode(file, background=(0, 0, 255)).shape == (16, 16, 3)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palettes_with_and_without_transparency(kind):
  paletted = Image.fromarray(UPRIGHT).quantize(4)
  np.testing.assert_array_equal(decode(encode(paletted, kind)), UPRIGHT)
  yellow = paletted.getpixel((0, 0))
  image = decode(encode(paletted, kind, transparency=yellow))
  expected = UPRIGHT.copy()
  expected[:4, :4] = 255
  np.testing.assert_array_equal(image, expected)


def test_transparent_entries_of_a_palette():
  """One alpha for each entry."""
  paletted = Image.fromarray(UPRIGHT).quantize(4)
  alphas = [0] * 4
  alphas[paletted.getpixel((15, 15))] = 255
  image = decode(encode(paletted, transparency=bytes(alphas)))
  expected = UPRIGHT.copy()
  expected[:8] = 255
  np.testing.assert_array_equal(image, expected)


def test_transparent_colours():
  image = decode(encode(UPRIGHT, transparency=(240, 230, 20)))
  expected = UPRIGHT.copy()
  expected[:4, :4] = 255
  np.testing.assert_array_equal(image, expected)
  gray = decode(encode(RAMP.astype(np.uint8), transparency=7))
  np.testing.assert_array_equal(gray, np.where(RAMP == 7, 255, RAMP))


def test_one_bit_cmyk_and_bmp():
  bits = RAMP % 3 == 0
  image = decode(encode(Image.fromarray(bits)))
  np.testing.assert_array_equal(image, np.where(bits, 255, 0))
  cmyk = Image.fromarray(UPRIGHT).convert("CMYK")
  image = decode(encode(cmyk, "JPEG", quality=100, subsampling=0))
  np.testing.assert_allclose(image.astype(int), UPRIGHT, atol=5)
  np.testing.assert_array_equal(decode(encode(UPRIGHT, "BMP")), UPRIGHT)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_of_several_frames(kind):
  frames = [Image.fromarray(pixels) for pixels in (UPRIGHT, 255 - UPRIGHT)]
  settings = {"lossless": True} if kind == "WEBP" else {}
  file = encode(
    frames[0], kind, save_all=True, append_images=frames[1:], **settings
  )
  np.testing.assert_array_equal(decode(file), UPRIGHT)


def test_a_damaged_orientation_is_none():
  file = encode(UPRIGHT, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
  np.testing.assert_array_equal(decode(file), UPRIGHT)


@pytest.mark.parametrize(
  ("file", "said"),
  [
    (io.BytesIO(b""), "it is no image"),
    (io.BytesIO(b"not an image"), "it is no image"),
    (encode(np.zeros((4, 4), np.float32), "TIFF"), "32 bits; save it with 8"),
    (encode(np.zeros((4, 4), np.int32), "TIFF"), "32 bits; save it with 8"),
    (encode(UPRIGHT, "PDF"), "it is no image"),
    (encode(UPRIGHT, "PPM"), "it is no image"),
  ],
)
def test_what_is_refused(file, said):
  with pytest.raises(DecodeError, match=said):
    Decoder().decode(file)


def test_a_truncated_image_is_refused():
  noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
  for kind in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"):
    content = encode(noise, kind).getvalue()
    with pytest.raises(DecodeError):
      Decoder().decode(io.BytesIO(content[: len(content) // 2]))


def test_a_limit_on_pixels():
  with pytest.raises(DecodeError, match="16x16 are more pixels than"):
    decode(encode(UPRIGHT), max_pixels=255)
  assert decode(encode(UPRIGHT), max_pixels=256).shape == (16, 16, 3)
  # Zeros in a few kB: Pillow refuses it by itself.
  bomb = encode(Image.new("1", (14_000, 14_000)))
  with pytest.raises(DecodeError, match="max_pixels = 89478485"):
    decode(bomb)
  assert decode(bomb, max_pixels=10**9).shape == (14_000, 14_000)


def test_pixels_have_the_channels_that_are_asked_for():
  gray = Decoder().decode(encode(RAMP.astype(np.uint8)))
  assert pixels(gray, 1).shape == (16, 16, 1)
  three = pixels(gray, 3)
  np.testing.assert_array_equal(three, RAMP[..., None].repeat(3, -1))
