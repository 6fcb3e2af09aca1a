"""The TFDS data set `cifar10`, prepared without TensorFlow.

TFDS's own builder needs TensorFlow to extract its archive. This one has its
name, version, features, splits and order, so either reads what the other has
prepared.
"""

import hashlib
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from lowdiff_jax.types import UserError

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
ARCHIVE = "cifar-10-binary.tar.gz"
CLASSES = (
  "airplane",
  "automobile",
  "bird",
  "cat",
  "deer",
  "dog",
  "frog",
  "horse",
  "ship",
  "truck",
)
FILES = {
  "train": [f"data_batch_{i}.bin" for i in range(1, 6)],
  "test": ["test_batch.bin"],
}
# A record is a byte of label and 3072 of pixels, channel by channel.
RECORD, RECORDS_PER_FILE = 1 + 3072, 10_000
# Of all pixels of a split, [N,32,32,3] in the official order.
SHA256 = {
  "train": "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
  "test": "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
}


with tfds.core.registered.skip_registration():  # TFDS has one of this name.

  class Cifar10(tfds.core.GeneratorBasedBuilder):
    """60,000 photos of 32x32 pixels in 10 classes."""

    VERSION = tfds.core.Version("3.0.2")

    def _info(self) -> tfds.core.DatasetInfo:
      features = tfds.features.FeaturesDict(
        {
          "id": tfds.features.Text(),
          "image": tfds.features.Image(shape=(32, 32, 3)),
          "label": tfds.features.ClassLabel(names=list(CLASSES)),
        }
      )
      return tfds.core.DatasetInfo(
        builder=self,
        description=self.__doc__,
        features=features,
        supervised_keys=("image", "label"),
        homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
      )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
      archive = Path(dl_manager.download_dir) / "manual" / ARCHIVE
      if not archive.exists():
        archive = Path(dl_manager.download(URL))
      return {split: self._generate_examples(archive, split) for split in FILES}

    def _generate_examples(
      self, archive: Path, split: str
    ) -> Iterator[tuple[int, dict[str, Any]]]:
      images, labels = read_archive(archive, split)
      for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        # As PIL image: TFDS would encode an array with TensorFlow.
        record = {"image": Image.fromarray(image), "label": int(label)}
        yield i, {"id": f"{split}_{i:05d}", **record}


def read_archive(archive: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
  """Images [N,32,32,3] uint8 and labels [N] in the official order.

  Args:
    archive: the official binary version, a .tar.gz.
    split: "train" or "test".

  Returns:
    Images and labels.

  Raises:
    UserError: the archive is damaged, or not of these images.
  """
  try:
    with tarfile.open(archive) as tar:
      files = {Path(member.name).name: member for member in tar}
      data = []
      for name in FILES[split]:
        member = tar.extractfile(files[name])
        if member is None:
          raise KeyError(f"file {name}")
        data.append(member.read())
  except (OSError, EOFError, KeyError, tarfile.TarError) as error:
    reason = f"has no {error}" if isinstance(error, KeyError) else error
    raise UserError(f"{archive} cannot be read: {reason}") from error
  for name, content in zip(FILES[split], data, strict=True):
    if len(content) != RECORDS_PER_FILE * RECORD:
      raise UserError(
        f"{archive}: {name} holds {len(content) / RECORD:g} records instead of "
        f"{RECORDS_PER_FILE}"
      )
  records = np.frombuffer(b"".join(data), np.uint8).reshape(-1, RECORD)
  pixels = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
  images = np.ascontiguousarray(pixels)
  if hashlib.sha256(images.tobytes()).hexdigest() != SHA256[split]:
    raise UserError(f"{archive}: the {split} images are not those of CIFAR-10")
  return images, records[:, 0].astype(np.int32)
