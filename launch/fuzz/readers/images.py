"""Folders of images, one of which is damaged or odd."""

import contextlib
import io
import random
import struct
import zlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from launch.fuzz.damage import damage_file, damaged
from launch.fuzz.reader import Reader
from lowdiff_jax.data.datasets.folder import read_small_images
from lowdiff_jax.data.source import open_splits
from lowdiff_jax.data.stored import open_stored
from lowdiff_jax.types import UserError

_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "I;16", "F", "YCbCr")
_SIZES = ((8, 8), (8, 8), (8, 8), (16, 16), (9, 8), (1, 8), (8, 1), (1, 1))
# How many files of a folder are right; they are read first.
_GOOD = 4


def pixels(seed: int) -> np.ndarray:
  """[8,8,3] uint8 of a right image."""
  return np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)


def png(width: int, height: int, depth: int, color: int, data: bytes) -> bytes:
  """A PNG file whose header says this, whatever its data are."""

  def chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check

  header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
  return b"".join(
    (
      b"\x89PNG\r\n\x1a\n",
      chunk(b"IHDR", header),
      chunk(b"IDAT", zlib.compress(data, 1)),
      chunk(b"IEND", b""),
    )
  )


def encoded(rng: random.Random, kind: str) -> bytes:
  """A valid file of a kind: any mode, size, orientation, frames, palette."""
  rgb = Image.fromarray(pixels(rng.randrange(4))).resize(rng.choice(_SIZES))
  mode = rng.choice(_MODES)
  if mode == "I;16":
    image = Image.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) * 99)
  else:
    image = rgb.convert(mode)
  options: dict[str, Any] = {}
  if rng.random() < 0.3:
    exif = Image.Exif()
    exif[274] = rng.choice((0, 3, 6, 8, 9, 2**16 - 1))  # Orientation.
    options["exif"] = exif
  if image.mode == "P" and rng.random() < 0.5:
    options["transparency"] = rng.choice((0, bytes(range(256))))
  if rng.random() < 0.2:
    frames = [rgb.rotate(90 * i) for i in range(rng.choice((1, 3)))]
    options |= {"save_all": True, "append_images": frames}
  file = io.BytesIO()
  try:
    image.save(file, kind, **options)
  except (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    SystemError,
  ):
    file = io.BytesIO()  # The format has no such mode or option.
    rgb.save(file, kind)
  return file.getvalue()


def odd(rng: random.Random) -> bytes:
  """A PNG of an odd size, depth or colour type, or no image at all."""
  side = (1, 8, 9, 1000, 13_000, 20_000, 65_535, 2**31 - 1, 2**31, 0)
  height = rng.choice(side)
  width = rng.choice((height, 8))
  depth, color = rng.choice((1, 2, 4, 8, 16, 3)), rng.choice((0, 2, 3, 4, 6, 1))
  data = bytes(rng.choice((0, 72, 200, 8 * 33, 100_000)))
  other = rng.choice((b"GIF89a", b"BM", b"II*\0", b"RIFF\0\0\0\0WEBP", b"%!PS"))
  return rng.choice((png(width, height, depth, color, data), other))


class _Folder(Reader):
  """Training data, images to score and images to upscale."""

  kind: ClassVar[str]
  suffixes: ClassVar[tuple[str, ...]]

  def __init__(self, seeds: Path) -> None:
    super().__init__(seeds)
    rng = random.Random(0)
    self._files = []
    for i in range(24):
      self._files.append(seeds / f"{i}")
      self._files[-1].write_bytes(encoded(rng, self.kind))
    for i in range(_GOOD):
      Image.fromarray(pixels(i)).save(seeds / f"a{i}.png")

  def make(self, rng: random.Random, folder: Path) -> tuple[Path, str]:
    """A folder of right images and one more."""
    root = folder / "images"
    root.mkdir()
    for i in range(_GOOD):
      name = f"a{i}.png"
      (root / name).write_bytes((self.seeds / name).read_bytes())
    file = root / f"b{rng.choice((*self.suffixes, '.png'))}"
    source = rng.random()
    if source < 0.1:
      file.write_bytes(odd(rng))
    elif source < 0.3:
      file.write_bytes(encoded(rng, self.kind))
    else:
      data, other = (rng.choice(self._files).read_bytes() for _ in range(2))
      file.write_bytes(damaged(rng, data, other))
      if rng.random() < 0.03:
        damage_file(rng, file, self._files)
    return root, rng.choice(("train", "train", "score", "upscale"))

  def read(self, candidate: tuple[Path, str]) -> None:
    """Reads the folder; the right images must come out as they are."""
    root, use = candidate
    if use == "train":
      train, test = open_splits(
        f"folder:{root}",
        resolution=8,
        crop="center",
        hold_out=0.0,
        data_dir=str(root.parent / "kept"),
      )
      test.read(range(len(test)))
      images = train.read(range(len(train))).image
    elif use == "score":
      stored = open_stored(root, 3, None).images
      images = np.concatenate([batch.image for batch in stored.read(0)])
    else:
      _, images = read_small_images(root, (4, 8), 3)
    for i in range(_GOOD):
      assert np.array_equal(images[i], pixels(i)), f"image {i} is another"
    # One that is out of a class folder of its own is refused, not fatal.
    if use == "upscale":
      with contextlib.suppress(UserError):
        read_small_images(next(root.glob("b*"), root), (8,), 1)


def _reader(kind: str, *suffixes: str) -> type[_Folder]:
  body = {"name": f"images.{kind.lower()}", "kind": kind, "suffixes": suffixes}
  return type(f"{kind}Folder", (_Folder,), body)


READERS: tuple[type[Reader], ...] = (
  _reader("PNG", ".png"),
  _reader("JPEG", ".jpg", ".jpeg", ".JPG"),
  _reader("WEBP", ".webp"),
  _reader("BMP", ".bmp"),
  _reader("TIFF", ".tiff", ".tif"),
  _reader("GIF", ".gif"),
)
