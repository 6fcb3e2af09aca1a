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
import re
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from lowdiff_jax import console, files
from lowdiff_jax.data.file_set import FileSet, open_files
from lowdiff_jax.reading import reading
from lowdiff_jax.types import UserError

HOME = "https://github.com/NVlabs/ffhq-dataset"
# Folders, or zips with ".zip" after it; the first that is there is taken.
PLACES = ("images1024x1024", "ffhq", "thumbnails128x128")
SIZES = ((1024, 1024), (128, 128))
# Images that are kept in one file on the way.
CHUNK = 1000


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
    faces = find_images(downloads / "manual", self.COUNT)
    return {"train": self._generate_examples(faces)}

  def _generate_examples(
    self, faces: "Faces"
  ) -> Iterator[tuple[int, dict[str, Any]]]:
    folder = self._kept / faces.files.root.name
    for start in range(0, self.COUNT, CHUNK):
      numbers = range(start, min(start + CHUNK, self.COUNT))
      images = shrink(faces, numbers, folder / f"{start:05d}.pixels")
      for i, image in zip(numbers, images, strict=True):
        # As PIL image: TFDS would encode an array with TensorFlow.
        yield i, {"id": f"{i:05d}", "image": Image.fromarray(image)}
      console.say(f"tfds:ffhq64: {numbers.stop} of {self.COUNT} images")

  def _post_download_and_prepare_hook(self) -> None:
    shutil.rmtree(self._kept, ignore_errors=True)


@dataclasses.dataclass(frozen=True)
class Faces:
  """FFHQ as it was fetched.

  Attributes:
    files: of the folder or zip.
    names: of the images in it, by number.
  """

  files: FileSet
  names: list[str]

  def open(self, number: int) -> Image.Image:
    """An image in RGB; UserError if it cannot be read."""
    name = self.names[number]
    with (
      reading(Path(self.files.path(name)), f"fetch it again from {HOME}"),
      self.files.open(name) as file,
      Image.open(file) as image,
    ):
      return image.convert("RGB")


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
    for place in (manual / name, manual / f"{name}.zip"):
      if place.exists():
        try:
          files = open_files(place)
        except UserError as error:
          raise UserError(f"{error}; fetch it again from {HOME}") from error
        return Faces(files, _by_number(place, files.stamps, count))
  raise UserError(
    f"tfds:ffhq64 has to be fetched by hand: get images1024x1024 from {HOME} "
    f"and put the folder, or a zip of it, into {manual}"
  )


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
      f"{place} lacks {len(missing)} of the {count} images, the first is "
      f"{missing[0]:05d}.png; fetch them from {HOME}"
    )
  return [found[i] for i in range(count)]


def shrink(faces: Faces, numbers: range, path: Path) -> np.ndarray:
  """Some images in 64x64, which are kept.

  Args:
    faces: all of them.
    numbers: of those to shrink.
    path: where they are kept; read if it is whole and of these very images.

  Returns:
    [N,64,64,3] uint8.

  Raises:
    UserError: an image cannot be read, or is not of the size of the first.
  """
  size = faces.open(0).size
  these = [
    (n, *faces.files.stamps[n])
    for n in faces.names[numbers.start : numbers.stop]
  ]

  def seal(content: bytes) -> bytes:
    return hashlib.sha256(repr((size, these)).encode() + content).digest()

  if path.exists():
    kept = path.read_bytes()
    if kept[:32] == seal(kept[32:]):
      return np.frombuffer(kept[32:], np.uint8).reshape(-1, 64, 64, 3)

  def one(number: int) -> np.ndarray:
    image = faces.open(number)
    if image.size not in SIZES or image.size != size:
      raise UserError(
        f"{faces.files.path(faces.names[number])} is {image.width}x"
        f"{image.height}; expected all to be 1024x1024, or all 128x128"
      )
    return np.asarray(image.resize((64, 64), Image.Resampling.LANCZOS))

  with ThreadPoolExecutor() as pool:
    images = np.stack(list(pool.map(one, numbers)))
  files.make_folder(path.parent)
  files.write_bytes(path, seal(images.tobytes()) + images.tobytes())
  return images
