"""Zips of images, and the labels of EDM's and StyleGAN's data sets."""

import logging
import zipfile

import numpy as np
import pytest

from lowdiff_jax.types import NO_LABEL, UserError
from tests.data.image_folders import (
  edm_set,
  everything,
  open_set,
  pack,
  write,
)


@pytest.mark.parametrize("kind", ["folder", "zip", "zip of a folder"])
def test_labels_of_dataset_json(kind, tmp_path, caplog):
  labels = [2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1]
  written = edm_set(tmp_path / "set", labels)
  path = tmp_path / "set"
  if kind != "folder":
    under = "set/" if kind == "zip of a folder" else ""
    path = pack(path, tmp_path / "set.zip", under=under)
  for source_kind in ("zip", "folder"):
    splits = open_set(path, source_kind)
    assert splits[0].spec == (8, 3, 3)
    assert splits[0].class_names == ("0", "1", "2")
    images, found = everything(splits)
    by_pixels = dict(zip(map(bytes, written.values()), labels, strict=True))
    assert [by_pixels[bytes(image)] for image in images] == found.tolist()
  assert not caplog.text


def test_no_labels_in_dataset_json(tmp_path):
  edm_set(tmp_path / "set", [0] * 8)
  (tmp_path / "set" / "dataset.json").write_text('{"labels": null}')
  splits = open_set(tmp_path / "set")
  assert splits[0].spec == (8, 3, 0)
  assert (everything(splits)[1] == NO_LABEL).all()


def test_labels_of_nothing_readable(tmp_path):
  edm_set(tmp_path / "set", [0] * 4)
  for path in (tmp_path / "set").rglob("*.png"):
    path.write_bytes(b"?")
  with pytest.raises(UserError, match="fewer than 4 readable images"):
    open_set(tmp_path / "set")


def test_another_programs_dataset_json(tmp_path):
  write(tmp_path / "set", "cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png")
  (tmp_path / "set" / "dataset.json").write_text('{"images": []}')
  assert open_set(tmp_path / "set")[0].class_names == ("cat", "dog")


def test_a_gap_in_the_classes_is_named(tmp_path, caplog):
  edm_set(tmp_path / "set", [0, 0, 3, 3, 0, 0])
  assert open_set(tmp_path / "set")[0].spec.num_classes == 4
  assert "2 classes of" in caplog.text and "no training image: 1, 2" in (
    caplog.text
  )


@pytest.mark.parametrize(
  ("text", "said"),
  [
    ("{", r"dataset\.json cannot be read"),
    ("[" * 10_000, r"dataset\.json cannot be read"),
    ('{"labels": 3}', r"expected labels as in"),
    ('{"labels": [["a"]]}', r"expected labels as in"),
    ('{"labels": [["00000/img00000000.png", 1]]}', "no label for 00000/img00"),
    ("vectors", "expected one class"),
    ("negative", "the label of image 2 is -1: expected a class, 0 to"),
    ("huge", "the label of image 2 is 1e.30: expected a class, 0 to"),
    ("half", r"the label of image 2 is 0\.5: expected a class, 0 to"),
    ("text", "labels are"),
    ("null", "labels are object"),
  ],
)
def test_wrong_labels(text, said, tmp_path):
  wrong = {
    "vectors": [0.1, 0.9],
    "negative": -1,
    "huge": 1e30,
    "half": 0.5,
    "text": "cat",
    "null": None,
  }
  labels = [0] * 4
  if text in wrong:
    labels = [wrong[text]] * 4 if text == "vectors" else [0, 0, wrong[text], 0]
  edm_set(tmp_path / "set", labels)
  if text not in wrong:
    (tmp_path / "set" / "dataset.json").write_text(text)
  with pytest.raises(UserError, match=said) as error:
    open_set(tmp_path / "set")
  assert "\n" not in str(error.value)


def test_names_in_a_zip_are_no_paths(tmp_path):
  written = write(tmp_path / "set", *(f"{i}.png" for i in range(4)))
  path = pack(tmp_path / "set", tmp_path / "set.zip")
  outside = tmp_path / "outside.png"
  with zipfile.ZipFile(path, "a") as archive:
    content = (tmp_path / "set" / "0.png").read_bytes()
    archive.writestr("../outside.png", content)
    archive.writestr("/absolute.png", content)
  before = set(tmp_path.rglob("*"))
  images, _ = everything(open_set(path, "zip"))
  # What leads out is no data; what is absolute is taken as below the root.
  assert len(images) == 5 and set(map(bytes, images)) == set(
    map(bytes, written.values())
  )
  kept = tmp_path / "kept_set.zip"
  assert set(tmp_path.rglob("*")) - before == {kept, *kept.rglob("*")}
  assert not outside.exists()


@pytest.mark.parametrize("damage", ["crc", "cut", "text", "gone", "password"])
def test_damaged_zips(damage, tmp_path, caplog):
  write(tmp_path / "set", *(f"{i}.png" for i in range(6)))
  path = pack(tmp_path / "set", tmp_path / "set.zip")
  data = bytearray(path.read_bytes())
  if damage == "crc":
    with zipfile.ZipFile(path) as archive:
      info = archive.getinfo("2.png")
    data[info.header_offset + 30 + len("2.png") + info.file_size // 2] ^= 255
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
      assert len(everything(open_set(path, "zip"))[0]) == 5
    assert "2.png (Bad CRC-32" in caplog.text
    return
  if damage == "password":
    # Flag bit 0 of each entry of the central directory.
    start = data.find(b"PK\1\2")
    while start != -1:
      data[start + 8] |= 1
      start = data.find(b"PK\1\2", start + 1)
    path.write_bytes(data)
  elif damage == "gone":
    path.unlink()
  else:
    path.write_bytes(data[:-50] if damage == "cut" else b"text")
  with pytest.raises(UserError) as error:
    open_set(path, "zip")
  assert "set.zip" in str(error.value) and "\n" not in str(error.value)


def test_a_bomb_is_not_unpacked(tmp_path, caplog):
  write(tmp_path / "set", *(f"{i}.png" for i in range(4)))
  path = pack(tmp_path / "set", tmp_path / "set.zip")
  with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("bomb.png", bytes(100 << 20))
  assert len(everything(open_set(path, "zip"))[0]) == 4
  assert "bomb.png (it would unpack to 100 MiB" in caplog.text


@pytest.mark.parametrize("prefix", ["./", ".\\", "set\\", "set/./"])
def test_names_in_zips_of_other_tools(prefix, tmp_path):
  names = [f"{c}/{i}.png" for c in ("cat", "dog") for i in range(3)]
  write(tmp_path / "set", *names)
  with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
    for name in names:
      other = name.replace("/", "\\") if "\\" in prefix else name
      content = (tmp_path / "set" / name).read_bytes()
      archive.writestr(zipfile.ZipInfo(prefix + other), content)
  splits = open_set(tmp_path / "set.zip", "zip")
  assert splits[0].class_names == ("cat", "dog")
  ours, labels = everything(open_set(tmp_path / "set"))
  np.testing.assert_array_equal(everything(splits)[0], ours)
  np.testing.assert_array_equal(everything(splits)[1], labels)


def test_names_that_lead_out_of_a_zip_are_named(tmp_path, caplog):
  write(tmp_path / "set", *(f"{i}.png" for i in range(4)))
  path = pack(tmp_path / "set", tmp_path / "set.zip")
  with zipfile.ZipFile(path, "a") as archive:
    archive.writestr("a/../../b.png", b"?")
  open_set(path, "zip")
  assert "lead out of it, the first is a/../../b.png" in caplog.text


@pytest.mark.parametrize(
  ("names", "classes"),
  [
    (["cat/0", "cat/1", "cat/2", "cat/3"], ("cat",)),
    (["set/cat/0", "set/cat/1", "set/dog/0", "set/dog/1"], ("cat", "dog")),
    (["a/b/cat/0", "a/b/dog/0", "a/b/dog/1", "a/b/dog/2"], ("cat", "dog")),
    (["0", "1", "2", "3"], ()),
  ],
)
def test_a_folder_and_a_zip_of_it_have_the_same_classes(
  names, classes, tmp_path
):
  write(tmp_path / "set", *(f"{name}.png" for name in names))
  (tmp_path / "set" / "README.txt").write_text("about it")
  path = pack(tmp_path / "set", tmp_path / "set.zip")
  for splits in (open_set(tmp_path / "set"), open_set(path, "zip")):
    assert splits[0].class_names == classes
