"""Images from TFDS and from folders, and how mistakes in them are named."""

import contextlib
import json
import logging
import shutil

import numpy as np
import pytest
from PIL import Image
from sklearn import datasets

from lowdiff_jax.data import held_out, images, source
from lowdiff_jax.data.datasets import folder, tfds_set
from lowdiff_jax.types import NO_LABEL, UserError


def write(path, size=(8, 8), mode="RGB", seed=0, **kwargs):
  """A image of random pixels."""
  path.parent.mkdir(parents=True, exist_ok=True)
  rng = np.random.default_rng(seed)
  pixels = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
  Image.fromarray(pixels).convert(mode).save(path, **kwargs)
  return pixels


def open_folder(path, **kwargs):
  """Its survey is kept in a hidden folder of it."""
  return source.open_splits(
    f"folder:{path}", resolution=8, data_dir=str(path / ".kept"), **kwargs
  )


def test_another_process_prepares_the_set_first(tmp_path, monkeypatch):
  """While this one waits for the lock."""

  def digits():
    return source.open_splits(
      "tfds:digits", resolution=8, data_dir=str(tmp_path)
    )

  @contextlib.contextmanager
  def locked(*unused, **options):
    monkeypatch.undo()
    digits()
    yield

  monkeypatch.setattr(tfds_set.locks, "locked", locked)
  assert len(digits()[0]) == 1438


def test_digits_are_the_real_ones(data_dir):
  train, test = source.open_splits(
    "tfds:digits", resolution=8, data_dir=str(data_dir)
  )
  assert (len(train), len(test)) == (1438, 359)
  assert train.spec == test.spec == (8, 1, 10)
  assert train.class_names == tuple("0123456789")
  real = datasets.load_digits()
  ours = np.concatenate(
    [s.read(np.arange(len(s))).image.reshape(-1, 64) for s in (train, test)]
  )
  expected = np.round(real.data * 255 / 16).astype(np.uint8)
  assert sorted(map(bytes, ours)) == sorted(map(bytes, expected))
  labels = np.concatenate([train.batch.label, test.batch.label])
  np.testing.assert_array_equal(np.bincount(labels), np.bincount(real.target))


def test_folder_with_classes(tmp_path):
  for i in range(12):
    write(tmp_path / "cat" / f"{i}.png", seed=i)
    write(tmp_path / "dog" / f"{i}.PNG", seed=100 + i)
  train, test = open_folder(tmp_path)
  assert train.spec == (8, 3, 2) and train.class_names == ("cat", "dog")
  assert (len(train), len(test)) == (22, 2)
  batch = train.read(np.array([0, 21]))
  assert batch.label.tolist() == [0, 1]
  np.testing.assert_array_equal(
    batch.image[0], np.asarray(Image.open(tmp_path / "cat" / "0.png"))
  )


def test_folder_without_classes_and_in_grey(tmp_path):
  for i in range(5):
    write(tmp_path / f"{i}.jpg", mode="L", seed=i)
  train, test = open_folder(tmp_path)
  assert train.spec == (8, 1, 0)
  assert (len(train), len(test)) == (3, 2)
  assert (train.read(np.arange(3)).label == NO_LABEL).all()


@pytest.mark.parametrize("count", [4, 19, 20, 24, 70_000])
def test_every_tenth_image_is_held_out(count):
  train, test = held_out.hold_out(count, 0.1)
  tenths = list(range(9, count, 10))
  assert test == (tenths if count >= 20 else [count - 2, count - 1])
  assert sorted(train + test) == list(range(count))


@pytest.mark.parametrize("part", [0.01, 0.05, 0.25, 0.3, 0.5])
def test_a_part_is_held_out_evenly(part):
  train, test = held_out.hold_out(1000, part)
  assert sorted(train + test) == list(range(1000))
  for start in range(0, 1000, 100):
    there = sum(start <= i < start + 100 for i in test)
    assert there == round(100 * part)


def test_nothing_is_held_out(tmp_path):
  for i in range(30):
    write(tmp_path / f"{i:02d}.png", seed=i)
  train, test = open_folder(tmp_path, hold_out=0)
  assert (len(train), len(test)) == (30, 3)
  np.testing.assert_array_equal(
    test.batch.image, train.batch.image[[9, 19, 29]]
  )
  assert len(open_folder(tmp_path, hold_out=0.5)[0]) == 15


def test_a_test_split_is_never_trained_on(data_dir):
  train, test = source.open_splits(
    "tfds:digits", resolution=8, data_dir=str(data_dir), hold_out=0
  )
  assert (len(train), len(test)) == (1438, 359)


def test_large_images_are_averaged_and_cropped_if_asked(tmp_path):
  for i in range(4):
    pixels = write(tmp_path / f"{i}.png", size=(20, 16), seed=i)
  with pytest.raises(UserError, match=r"0\.png is 20x16.*crop='center'"):
    open_folder(tmp_path)
  _, test = open_folder(tmp_path, crop="center")
  square = pixels[:, 2:18].astype(float)
  expected = square.reshape(8, 2, 8, 2, 3).mean((1, 3))
  np.testing.assert_allclose(test.batch.image[1], expected, atol=1)


def test_unreadable_image_is_named_and_skipped(tmp_path, caplog):
  for i in range(6):
    write(tmp_path / f"{i}.png", seed=i)
  (tmp_path / "2.png").write_bytes(b"not an image")
  whole = (tmp_path / "3.png").read_bytes()
  (tmp_path / "3.png").write_bytes(whole[: len(whole) // 2])
  with caplog.at_level(logging.WARNING):
    train, test = open_folder(tmp_path)
  assert len(train) + len(test) == 4
  assert "2.png" in caplog.text and "3.png" in caplog.text


def test_unequal_sizes(tmp_path):
  write(tmp_path / "a.png", (8, 8))
  write(tmp_path / "b.png", (9, 9))
  with pytest.raises(UserError, match=r"b\.png is 9x9 but .*a\.png is 8x8"):
    open_folder(tmp_path)
  write(tmp_path / "c.png", (12, 9))
  write(tmp_path / "d.png", (8, 10))
  assert len(open_folder(tmp_path, crop="center")[0]) == 2


def test_too_small(tmp_path):
  write(tmp_path / "a.png", (8, 7))
  with pytest.raises(UserError, match=r"a\.png is 8x7, smaller than .* 8x8"):
    open_folder(tmp_path)


def test_missing_and_empty_folder(tmp_path):
  with pytest.raises(UserError, match="there is no folder"):
    open_folder(tmp_path / "nowhere")
  (tmp_path / "notes.txt").write_text("no image")
  with pytest.raises(UserError, match="no image in"):
    open_folder(tmp_path)
  write(tmp_path / "a.png")
  with pytest.raises(UserError, match="fewer than 4 readable images"):
    open_folder(tmp_path)


def test_images_beside_classes(tmp_path):
  write(tmp_path / "a.png")
  write(tmp_path / "cat" / "b.png")
  with pytest.raises(UserError, match="both in subfolders"):
    open_folder(tmp_path)


@pytest.mark.parametrize("name", ["digits", "tfds:", "zip:", "tar:a"])
def test_names_of_sources(name):
  with pytest.raises(
    UserError, match="expected tfds:<name>, folder:<path>, zip"
  ):
    source.open_splits(name, resolution=8)


def test_a_set_of_one_size_is_read_when_it_is_needed(data_dir, monkeypatch):
  """Each image once; that they do not fit is said without reading any."""
  read = []

  def fit(image, *rest, **more):
    read.append(image)
    return images.fit(image, *rest, **more)

  monkeypatch.setattr(tfds_set, "fit", fit)
  place = {"data_dir": str(data_dir)}
  train, _ = source.open_splits("tfds:digits", resolution=8, **place)
  before = len(read)
  assert before == 2  # One of each split, for its type.
  first = train.read([5, 9, 5])
  again = train.read([9, 7])
  np.testing.assert_array_equal(first.image[1], again.image[0])
  assert len(read) == before + 3
  with pytest.raises(
    UserError, match=r"of tfds:digits is 8x8, smaller .* 16x1"
  ):
    source.open_splits("tfds:digits", resolution=16, **place)


def test_unknown_tfds_set(data_dir):
  with pytest.raises(UserError, match="TFDS knows no set of that name"):
    source.open_splits("tfds:nosuch", resolution=8, data_dir=str(data_dir))


@pytest.mark.parametrize("name", ["digits", "digits:1.0.0"])
def test_a_set_of_another_format(name, data_dir, tmp_path):
  """TFDS's own default is tfrecord."""
  source.open_splits("tfds:digits", resolution=8, data_dir=str(data_dir))
  shutil.copytree(data_dir / "digits", tmp_path / "digits")
  path = tmp_path / "digits" / "1.0.0" / "dataset_info.json"
  info = json.loads(path.read_text())
  path.write_text(json.dumps({**info, "fileFormat": "tfrecord"}))
  with pytest.raises(
    UserError, match=r"as tfrecord in .* as array_record, .*data\.dir"
  ):
    source.open_splits(f"tfds:{name}", resolution=8, data_dir=str(tmp_path))


def test_small_images_to_upscale(tmp_path):
  for i in range(3):
    write(tmp_path / f"{i}.png", (4, 4), seed=i)
  names, images = folder.read_small_images(tmp_path, [2, 4], 1)
  assert names == ["0", "1", "2"] and images.shape == (3, 4, 4, 1)
  names, images = folder.read_small_images(tmp_path / "1.png", [4], 3)
  assert names == ["1"] and images.shape == (1, 4, 4, 3)
  with pytest.raises(UserError, match=r"0\.png is 4x4: .* upscales 2x2"):
    folder.read_small_images(tmp_path, [2], 3)
  with pytest.raises(UserError, match="there is no"):
    folder.read_small_images(tmp_path / "gone.png", [4], 3)
  shutil.copy(__file__, tmp_path / "1.png")
  assert len(folder.read_small_images(tmp_path, [4], 3)[0]) == 2
