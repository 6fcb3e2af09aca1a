"""The builder of FFHQ, on a few images of its format."""

import os
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from lowdiff_jax.data import source
from lowdiff_jax.data.datasets import ffhq64
from lowdiff_jax.types import UserError

COUNT = 8  # Three chunks, the last not full.


@pytest.fixture
def manual(tmp_path, monkeypatch):
  """The manual folder of a data set of eight images."""
  monkeypatch.setattr(ffhq64.Ffhq64, "COUNT", COUNT)
  monkeypatch.setattr(ffhq64, "CHUNK", 3)
  folder = tmp_path / "downloads" / "manual"
  folder.mkdir(parents=True)
  return folder


def name(number):
  """As the official folders have it, but with subfolders of two."""
  return f"{number // 2 * 2:05d}/{number:05d}.png"


def write(path, side=128, seed=0):
  """A image; returns it as it should be found in the set."""
  path.parent.mkdir(parents=True, exist_ok=True)
  pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)
  picture = Image.fromarray(pixels).resize((side, side))
  picture.save(path, compress_level=1)
  return np.asarray(picture.resize((64, 64), Image.Resampling.LANCZOS))


def write_all(folder, side=128, seed=0):
  pictures = [
    write(folder / name(i), side, 100 * seed + i) for i in range(COUNT)
  ]
  return np.stack(pictures)


def pack(folder, path):
  """A zip of the folder, which is deleted."""
  shutil.make_archive(path.with_suffix(""), "zip", folder.parent, folder.name)
  shutil.rmtree(folder)


def open_set(manual):
  return source.open_splits(
    "tfds:ffhq64",
    resolution=64,
    data_dir=str(manual.parents[1]),
    hold_out=0,
  )


def fails(manual, said):
  """An attempt to prepare the set, which must leave nothing of it."""
  with pytest.raises(UserError, match=said) as caught:
    open_set(manual)
  assert "\n" not in str(caught.value)
  assert not list(manual.parents[1].glob("ffhq64/*"))


def damage(path):
  """Wrong bytes from the middle on; neither size nor time tell."""
  times = path.stat().st_atime_ns, path.stat().st_mtime_ns
  whole = path.read_bytes()
  half = len(whole) // 2
  path.write_bytes(whole[:half] + bytes(len(whole) - half))
  os.utime(path, ns=times)


def test_folder_in_the_order_of_the_numbers(manual):
  expected = write_all(manual / "thumbnails128x128")
  (manual / "thumbnails128x128" / "LICENSE.txt").touch()
  train, test = open_set(manual)
  assert train.spec == (64, 3, 0)
  np.testing.assert_array_equal(train.batch.image, expected)
  np.testing.assert_array_equal(test.batch.image, expected[-2:])
  builder = ffhq64.Ffhq64(data_dir=manual.parents[1])
  assert list(builder.info.splits) == ["train"]
  ids = [record["id"] for record in builder.as_data_source("train")]
  assert ids == [f"{i:05d}".encode() for i in range(COUNT)]
  # What was kept on the way is gone, and the images are not needed again.
  assert not (manual.parent / "ffhq64").exists()
  shutil.rmtree(manual)
  assert len(open_set(manual)[0]) == COUNT


def test_zip_is_as_good_as_a_folder(manual):
  expected = write_all(manual / "ffhq")
  pack(manual / "ffhq", manual / "ffhq.zip")
  np.testing.assert_array_equal(open_set(manual)[0].batch.image, expected)


def test_originals_are_preferred_to_thumbnails(manual, monkeypatch):
  monkeypatch.setattr(ffhq64.Ffhq64, "COUNT", 2)
  write_all(manual / "thumbnails128x128", seed=1)
  originals = [write(manual / "a" / name(i), 1024, i) for i in range(2)]
  pack(manual / "a", manual / "images1024x1024.zip")
  np.testing.assert_array_equal(open_set(manual)[0].batch.image, originals)


def test_goes_on_where_it_was(manual):
  """It stops at a bad image; those before are not looked at again."""
  expected = write_all(manual / "ffhq")
  whole = (manual / "ffhq" / name(7)).read_bytes()
  (manual / "ffhq" / name(7)).write_bytes(whole[:5000])
  fails(manual, r"00007\.png cannot be read \(.*truncated.*\); fetch it again")
  for number in (1, 2, 3, 4, 5):  # 0 is read for its size.
    damage(manual / "ffhq" / name(number))
  (manual / "ffhq" / name(7)).write_bytes(whole)
  np.testing.assert_array_equal(open_set(manual)[0].batch.image, expected)


def test_goes_on_with_a_zip(manual):
  expected = write_all(manual / "a")
  whole = (manual / "a" / name(7)).read_bytes()
  (manual / "a" / name(7)).write_bytes(b"?")
  shutil.make_archive(manual / "ffhq", "zip", manual / "a")
  times = []
  for _ in range(2):
    fails(manual, r"ffhq\.zip: 00006/00007\.png cannot be read")
    kept = sorted((manual.parent / "ffhq64" / "ffhq.zip").iterdir())
    times.append([path.stat().st_mtime_ns for path in kept])
  assert len(times[0]) == 2 and times[0] == times[1]
  (manual / "a" / name(7)).write_bytes(whole)
  shutil.make_archive(manual / "ffhq", "zip", manual / "a")
  np.testing.assert_array_equal(open_set(manual)[0].batch.image, expected)


@pytest.mark.parametrize("harm", ["cut", "flip", "empty"])
def test_damaged_chunks_are_made_again(manual, harm):
  expected = write_all(manual / "ffhq")
  (manual / "ffhq" / name(7)).rename(manual / "7.png")
  (manual / "ffhq" / name(7)).write_bytes(b"?")
  fails(manual, r"00007\.png cannot be read \(cannot identify")
  first, second = sorted((manual.parent / "ffhq64" / "ffhq").iterdir())
  data = first.read_bytes()
  half = len(data) // 2
  changed = {
    "cut": data[:half],
    "flip": data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :],
    "empty": b"",
  }
  first.write_bytes(changed[harm])
  second.unlink()
  (manual / "7.png").rename(manual / "ffhq" / name(7))
  np.testing.assert_array_equal(open_set(manual)[0].batch.image, expected)


def test_chunks_of_other_pictures_are_not_taken(manual):
  write_all(manual / "ffhq")
  (manual / "ffhq" / name(7)).write_bytes(b"?")
  fails(manual, r"00007\.png")
  expected = write_all(manual / "ffhq", seed=1)
  (manual / "ffhq" / name(7)).write_bytes(b"?")
  fails(manual, r"00007\.png")
  expected[7] = write(manual / "ffhq" / name(7))
  np.testing.assert_array_equal(open_set(manual)[0].batch.image, expected)


def test_nothing_there(manual):
  fails(manual, rf"get images1024x1024 from {ffhq64.HOME} .* into {manual}$")


def test_missing_pictures(manual):
  write_all(manual / "ffhq")
  (manual / "ffhq" / name(3)).unlink()
  (manual / "ffhq" / name(6)).rename(manual / "ffhq" / "six.png")
  said = r"/ffhq lacks 2 of the 8 images, the first is 00003\.png; fetch"
  fails(manual, said)
  pack(manual / "ffhq", manual / "ffhq.zip")
  fails(manual, said.replace("/ffhq", r"/ffhq\.zip"))


def test_two_pictures_of_a_number(manual):
  write_all(manual / "ffhq" / "images1024x1024")
  write_all(manual / "ffhq" / "thumbnails128x128")
  fails(
    manual,
    r"holds images1024x1024/00000/00000\.png and thumbnails128x128/00000/00000"
    r"\.png; leave but one",
  )


@pytest.mark.parametrize(
  ("numbers", "side"), [(range(COUNT), 256), ([4], 256), ([4], 1024)]
)
def test_wrong_sizes(manual, numbers, side):
  write_all(manual / "ffhq")
  for number in numbers:
    write(manual / "ffhq" / name(number), side)
  picture = rf"{numbers[0]:05d}\.png is {side}x{side}"
  fails(manual, picture + "; expected all to be 1024x1024, or all 128x128")


def test_damaged_zip(manual):
  write_all(manual / "ffhq")
  pack(manual / "ffhq", manual / "ffhq.zip")
  path = manual / "ffhq.zip"
  with zipfile.ZipFile(path) as archive:
    member = next(m for m in archive.infolist() if "00004.png" in m.filename)
  data = path.read_bytes()
  inside = member.header_offset + member.compress_size // 2
  path.write_bytes(data[:inside] + b"?" + data[inside + 1 :])
  fails(manual, r"ffhq\.zip: ffhq/00004/00004\.png cannot be read \(")
  path.write_bytes(data[: len(data) // 2])
  fails(manual, r"ffhq\.zip cannot be read \(.*\); fetch it again")
