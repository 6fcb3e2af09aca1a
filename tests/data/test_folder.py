"""Folders of images: what is data, classes, what is held out."""

import shutil

import numpy as np
import pytest

from lowdiff_jax.data import held_out
from lowdiff_jax.data.datasets import folder
from tests.data.image_folders import (
  everything,
  open_set,
  pack,
  same_images,
  write,
)


def test_every_kind_of_file_is_read(tmp_path):
  names = [f"{i}.{end}" for i, end in enumerate(("png", "bmp", "TIF", "tiff"))]
  written = write(tmp_path / "set", *names, "4.gif", "5.webp", "6.jpg")
  images, _ = everything(open_set(tmp_path / "set"))
  assert len(images) == 7
  exact = [written[name].tobytes() for name in names]
  assert set(exact) <= {image.tobytes() for image in images}


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_what_is_hidden_is_no_data(kind, tmp_path, caplog):
  root = tmp_path / "set"
  written = write(root, *(f"{c}/{i}.png" for c in ("cat", "dog") for i in "01"))
  write(
    *(root, ".ipynb_checkpoints/0.png", "cat/.0.png", "@eaDir/0.png"),
    *("__MACOSX/cat/0.png", "dog/.hidden/0.png"),
  )
  for name in (".DS_Store", "cat/Thumbs.db", "desktop.ini"):
    (root / name).write_bytes(b"?")
  path = pack(root, tmp_path / "set.zip") if kind == "zip" else root
  splits = open_set(path, kind)
  images, labels = everything(splits)
  assert splits[0].class_names == ("cat", "dog")
  assert same_images(images, written) and np.bincount(labels).tolist() == [2, 2]
  assert not caplog.text


def test_classes_by_subfolder_at_any_depth_and_links(tmp_path):
  root = tmp_path / "set"
  write(root, "cat/a/0.png", "cat/1.png", "dog/0.png", "dog/b/c/1.png")
  write(tmp_path / "elsewhere", "0.png", "1.png")
  (root / "owl").symlink_to(tmp_path / "elsewhere")
  (root / "dog" / "circle").symlink_to(root)
  (root / "dog" / "gone.png").symlink_to(tmp_path / "gone.png")
  splits = open_set(root)
  assert splits[0].class_names == ("cat", "dog", "owl")
  assert np.bincount(everything(splits)[1]).tolist() == [2, 2, 2]


def test_a_class_without_a_readable_image_is_named(tmp_path, caplog):
  write(tmp_path / "set", *(f"{c}/{i}.png" for c in "ac" for i in range(3)))
  (tmp_path / "set" / "b").mkdir()
  (tmp_path / "set" / "b" / "0.png").write_bytes(b"?")
  train, _ = open_set(tmp_path / "set")
  assert train.class_names == ("a", "c")
  assert "class b of" in caplog.text and "no readable image" in caplog.text


def test_every_class_that_can_spares_an_image(tmp_path):
  """And none is left without a training image."""
  counts = {"a": 7, "b": 1, "c": 2, "d": 30}
  names = [f"{c}/{i:02d}.png" for c, n in counts.items() for i in range(n)]
  write(tmp_path / "set", *names)
  splits = open_set(tmp_path / "set")
  train, test = (np.bincount(everything([s])[1], minlength=4) for s in splits)
  assert (train + test).tolist() == [7, 1, 2, 30]
  assert (train > 0).all() and (test > 0).tolist() == [True, False, True, True]


def test_held_out_of_each_class():
  labels = np.repeat([0, 1, 2], [1000, 3, 1])
  train, test = held_out.hold_out(1004, 0.1, labels)
  assert sorted(train + test) == list(range(1004))
  assert np.bincount(labels[test], minlength=3).tolist() == [100, 1, 0]
  # Large classes are held out of as without classes.
  assert [i for i in test if i < 1000] == list(range(9, 1000, 10))
  # Two at least, of whichever class can spare them.
  train, test = held_out.hold_out(8, 0.1, np.repeat([0, 1], [7, 1]))
  assert test == [5, 6]


def test_where_no_class_can_spare_an_image(caplog):
  train, test = held_out.hold_out(5, 0.1, np.arange(5))
  assert train == list(range(5)) and len(test) == 2
  assert "training images validate" in caplog.text


def test_the_copy_of_a_folder_is_the_same_set(tmp_path):
  """Order and split do not depend on where or how the files lie."""
  write(tmp_path / "set", *(f"{c}/{i}.png" for c in "ab" for i in range(12)))
  shutil.copytree(tmp_path / "set", tmp_path / "copy")
  path = pack(tmp_path / "set", tmp_path / "set.zip")
  ours = [
    everything(open_set(*args))
    for args in ((tmp_path / "set",), (tmp_path / "copy",), (path, "zip"))
  ]
  for images, labels in ours[1:]:
    np.testing.assert_array_equal(images, ours[0][0])
    np.testing.assert_array_equal(labels, ours[0][1])


def test_names_of_images_to_upscale_are_their_own(tmp_path):
  write(tmp_path, "cat/1.png", "dog/1.png", "a.png", "a.bmp", "B.png")
  names, _ = folder.read_small_images(tmp_path, (8,), 3)
  assert sorted(names) == ["B", "a.bmp", "a.png", "cat/1", "dog/1"]


def test_two_links_to_one_folder_are_two_classes(tmp_path):
  write(tmp_path / "real", "0.png", "1.png")
  write(tmp_path / "set", "dog/0.png", "dog/1.png")
  for name in ("cat", "kitten"):
    (tmp_path / "set" / name).symlink_to(tmp_path / "real")
  splits = open_set(tmp_path / "set")
  assert splits[0].class_names == ("cat", "dog", "kitten")
