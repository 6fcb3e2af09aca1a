"""The TFDS data set `ffhq64`: the 70,000 faces of FFHQ in 64x64 pixels.

FFHQ has to be fetched by hand and put into TFDS's manual folder, as a folder or
a zip. The originals of 1024x1024 are shrunk by Pillow's Lanczos filter, as they
were for the reference statistics that EDM publishes. The thumbnails of 128x128
will do, but give slightly other pixels, and so other scores against those.

Shrinking takes long: what is done is kept beside the manual folder, so that a
preparation that was killed goes on where it was, until the set is prepared.
"""

import dataclasses
import hashlib
import io
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from lowdiff_jax import files
from lowdiff_jax.types import UserError

HOME = "https://github.com/NVlabs/ffhq-dataset"
# Folders, or zips with ".zip" after it; the first that is there is taken.
PLACES = ("images1024x1024", "ffhq", "thumbnails128x128")
SIZES = ((1024, 1024), (128, 128))
# Images that are kept in one file on the way.
CHUNK = 1000
# What a damaged image or zip may raise.
UNREADABLE = (
  *(OSError, EOFError, SyntaxError, ValueError, RuntimeError),
  *(zipfile.BadZipFile, zlib.error),
)


class Ffhq64(tfds.core.GeneratorBasedBuilder):
  """70,000 photos of faces in the official order, all of them to train on."""

  VERSION = tfds.core.Version("1.0.0")
  COUNT = 70_000

  def _info(self) -> tfds.core.DatasetInfo:
    features = tfds.features.FeaturesDict(
      {
        "id": tfds.features.Text(),
        "image": tfds.features.Image(shape=(64, 64, 3)),
      }
    )
    return tfds.core.DatasetInfo(
      builder=self,
      description=self.__doc__,
      features=features,
      homepage=HOME,
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
    downloads = Path(dl_manager.download_dir)
    self._kept = downloads / self.name
    pictures = find_images(downloads / "manual", self.COUNT)
    return {"train": self._generate_examples(pictures)}

  def _generate_examples(
    self, pictures: "Faces"
  ) -> Iterator[tuple[int, dict[str, Any]]]:
    folder = self._kept / pictures.place.name
    for start in range(0, self.COUNT, CHUNK):
      numbers = range(start, min(start + CHUNK, self.COUNT))
      images = shrink(pictures, numbers, folder / f"{start:05d}.pixels")
      for i, image in zip(numbers, images, strict=True):
        # As PIL image: TFDS would encode an array with TensorFlow.
        yield i, {"id": f"{i:05d}", "image": Image.fromarray(image)}
      print(f"tfds:ffhq64: {numbers.stop} of {self.COUNT} images", flush=True)

  def _post_download_and_prepare_hook(self) -> None:
    shutil.rmtree(self._kept, ignore_errors=True)


@dataclasses.dataclass(frozen=True)
class Faces:
  """FFHQ as it was fetched.

  Attributes:
    place: the folder or zip.
    names: of the files in it, by number.
    stamps: by number; a stamp changes when the file does.
    content: name -> the bytes of a file.
  """

  place: Path
  names: list[str]
  stamps: list[Any]
  content: Callable[[str], bytes]

  def open(self, number: int) -> Image.Image:
    """A image in RGB; UserError if it cannot be read."""
    name = self.names[number]
    try:
      with Image.open(io.BytesIO(self.content(name))) as picture:
        return picture.convert("RGB")
    except UNREADABLE as error:
      reason = str(error).split("\n")[0]
      raise UserError(
        f"{self.place}: {name} cannot be read ({reason}); fetch it again from "
        f"{HOME}"
      ) from error


def find_images(manual: Path, count: int) -> Faces:
  """The images 0 ... count - 1 in the manual folder.

  Args:
    manual: TFDS's manual folder.
    count: how many there have to be.

  Returns:
    Those of the first of `PLACES`.

  Raises:
    UserError: there are none, not all, two of a number, or no readable zip.
  """
  for name in PLACES:
    if (place := manual / name).is_dir():
      stamps, content = _open_folder(place)
    elif (place := manual / f"{name}.zip").is_file():
      stamps, content = _open_zip(place)
    else:
      continue
    names = _by_number(place, stamps, count)
    return Faces(place, names, [stamps[name] for name in names], content)
  raise UserError(
    f"tfds:ffhq64 has to be fetched by hand: get images1024x1024 from {HOME} "
    f"and put the folder, or a zip of it, into {manual}"
  )


def _open_folder(place: Path) -> tuple[dict[str, Any], Callable[[str], bytes]]:
  """({name: stamp}, name -> content)."""
  paths = place.rglob("*.png")
  stats = {path.relative_to(place).as_posix(): path.stat() for path in paths}
  stamps = {name: (s.st_size, s.st_mtime_ns) for name, s in stats.items()}
  return stamps, lambda name: (place / name).read_bytes()


def _open_zip(place: Path) -> tuple[dict[str, Any], Callable[[str], bytes]]:
  """({name: stamp}, name -> content)."""
  try:
    archive = zipfile.ZipFile(place)
  except UNREADABLE as error:
    raise UserError(
      f"{place} is damaged ({error}); fetch it again from {HOME}"
    ) from error
  return {info.filename: info.CRC for info in archive.infolist()}, archive.read


def _by_number(place: Path, names: Iterable[str], count: int) -> list[str]:
  """The names of 00000.png, 00001.png ... in whatever subfolders."""
  found: dict[int, str] = {}
  for name in sorted(names):
    if match := re.fullmatch(r"(?:.*/)?(\d{5})\.png", name):
      first = found.setdefault(int(match[1]), name)
      if first != name:
        raise UserError(f"{place} holds {first} and {name}; leave but one")
  if missing := [i for i in range(count) if i not in found]:
    raise UserError(
      f"{place} lacks {len(missing)} of the {count} pictures, the first is "
      f"{missing[0]:05d}.png; fetch them from {HOME}"
    )
  return [found[i] for i in range(count)]


def shrink(pictures: Faces, numbers: range, path: Path) -> np.ndarray:
  """Some images in 64x64, which are kept.

  Args:
    pictures: all of them.
    numbers: of those to shrink.
    path: where they are kept; read if it is whole and of these very images.

  Returns:
    [N,64,64,3] uint8.

  Raises:
    UserError: a image cannot be read, or is not of the size of the first.
  """
  size = pictures.open(0).size
  these = [(pictures.names[i], pictures.stamps[i]) for i in numbers]

  def seal(content: bytes) -> bytes:
    return hashlib.sha256(repr((size, these)).encode() + content).digest()

  if path.exists():
    kept = path.read_bytes()
    if kept[:32] == seal(kept[32:]):
      return np.frombuffer(kept[32:], np.uint8).reshape(-1, 64, 64, 3)

  def one(number: int) -> np.ndarray:
    picture = pictures.open(number)
    if picture.size not in SIZES or picture.size != size:
      raise UserError(
        f"{pictures.place}: {pictures.names[number]} is {picture.width}x"
        f"{picture.height}; expected all to be 1024x1024, or all 128x128"
      )
    return np.asarray(picture.resize((64, 64), Image.Resampling.LANCZOS))

  with ThreadPoolExecutor() as pool:
    images = np.stack(list(pool.map(one, numbers)))
  files.make_folder(path.parent)
  files.write_bytes(path, seal(images.tobytes()) + images.tobytes())
  return images
