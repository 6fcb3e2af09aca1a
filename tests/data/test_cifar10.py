"""The builder of CIFAR-10, on an archive of its format."""

import hashlib
import io
import tarfile

import numpy as np
import pytest

from lowdiff_jax.data import source
from lowdiff_jax.data.datasets import cifar10
from lowdiff_jax.types import UserError


@pytest.fixture
def made(tmp_path, monkeypatch):
  """Four random images a file, whose checksums are taken for the real ones."""
  rng = np.random.default_rng(0)
  images = {
    split: rng.integers(0, 256, (4 * len(files), 32, 32, 3), np.uint8)
    for split, files in cifar10.FILES.items()
  }
  labels = {split: np.arange(len(x)) % 10 for split, x in images.items()}
  folder = tmp_path / "downloads" / "manual"
  folder.mkdir(parents=True)
  with tarfile.open(folder / cifar10.ARCHIVE, "w:gz") as tar:
    for split, files in cifar10.FILES.items():
      planes = images[split].transpose(0, 3, 1, 2).reshape(-1, 3072)
      records = np.concatenate([labels[split][:, None], planes], 1)
      for name, part in zip(files, np.split(records, len(files)), strict=True):
        content = part.astype(np.uint8).tobytes()
        member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
  sums = {s: hashlib.sha256(x).hexdigest() for s, x in images.items()}
  monkeypatch.setattr(cifar10, "SHA256", sums)
  monkeypatch.setattr(cifar10, "RECORDS_PER_FILE", 4)
  return tmp_path, images, labels


def open_set(data_dir):
  return source.open_splits(
    "tfds:cifar10", resolution=32, data_dir=str(data_dir)
  )


def test_prepares_from_the_manual_folder(made):
  data_dir, images, labels = made
  train, test = open_set(data_dir)
  assert train.spec == (32, 3, 10) and train.class_names[3] == "cat"
  for split, ours in (("train", train), ("test", test)):
    expected = zip(images[split], labels[split], strict=True)
    found = zip(ours.batch.image, ours.batch.label, strict=True)
    assert sorted((x.tobytes(), y) for x, y in found) == sorted(
      (x.tobytes(), y) for x, y in expected
    )
  (data_dir / "downloads" / "manual" / cifar10.ARCHIVE).unlink()
  assert len(open_set(data_dir)[0]) == 20  # Once is enough.


def test_reads_in_the_official_order(made):
  data_dir, images, labels = made
  archive = data_dir / "downloads" / "manual" / cifar10.ARCHIVE
  for split in cifar10.FILES:
    ours = cifar10.read_archive(archive, split)
    np.testing.assert_array_equal(ours[0], images[split])
    np.testing.assert_array_equal(ours[1], labels[split])


def test_wrong_archives_are_named(made, monkeypatch):
  data_dir, _, _ = made
  archive = data_dir / "downloads" / "manual" / cifar10.ARCHIVE
  monkeypatch.setattr(cifar10, "RECORDS_PER_FILE", 5)
  with pytest.raises(UserError, match="holds 4 records instead of 5"):
    open_set(data_dir)
  monkeypatch.setattr(cifar10, "RECORDS_PER_FILE", 4)
  monkeypatch.setitem(cifar10.SHA256, "test", "0")
  with pytest.raises(UserError, match=r"the test images are not those of"):
    open_set(data_dir)
  monkeypatch.setitem(cifar10.FILES, "test", ["test_batch_2.bin"])
  with pytest.raises(UserError, match=r"has no 'test_batch_2\.bin'"):
    open_set(data_dir)
  whole = archive.read_bytes()
  archive.write_bytes(whole[: len(whole) // 2])
  with pytest.raises(UserError, match="cannot be read"):
    open_set(data_dir)
