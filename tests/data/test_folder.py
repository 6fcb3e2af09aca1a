"""Folders and zips of images: what is data, classes, labels, the survey."""

import json
import logging
import os
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from lowdiff_jax.data import held_out, source, survey
from lowdiff_jax.data.datasets import folder
from lowdiff_jax.data.decode import Decoder
from lowdiff_jax.data.file_set import open_files
from lowdiff_jax.types import NO_LABEL, UserError

RNG = np.random.default_rng(0)


def write(root, *names, side=8, mode="RGB"):
  """Images of random pixels; name -> what was written."""
  found = {}
  for name in names:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    found[name] = RNG.integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(found[name]).convert(mode).save(path)
  return found


def pack(root, path, *, under=""):
  with zipfile.ZipFile(path, "w") as archive:
    for file in sorted(root.rglob("*")):
      if file.is_file():
        archive.write(file, f"{under}{file.relative_to(root)}")
  return path


def open_set(path, kind="folder", **kwargs):
  kept = path.parent / f"kept_{path.name}"
  return source.open_splits(
    f"{kind}:{path}", resolution=8, data_dir=str(kept), **kwargs
  )


def everything(splits):
  """All images and labels of both splits."""
  batches = [split.read(np.arange(len(split))) for split in splits]
  images = np.concatenate([batch.image for batch in batches])
  return images, np.concatenate([batch.label for batch in batches])


def same_images(ours, written):
  expected = sorted(map(bytes, written.values()))
  return sorted(map(bytes, ours)) == expected


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


def test_what_is_left_out_is_counted_and_named_once(tmp_path, caplog):
  root = tmp_path / "set"
  write(root, *(f"{i}.png" for i in range(5)))
  for name in ("a.txt", "b.txt", "notes/c.heic", "noend"):
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_bytes(b"?")
  for i in range(8):
    (root / f"bad{i}.png").write_bytes(b"?")
  for _ in range(2):  # At the second start too.
    caplog.clear()
    open_set(root)
    left, skipped = [record.getMessage() for record in caplog.records]
    assert "left out 4 files" in left and "2 .txt" in left and "a.txt" in left
    assert "skipped 8 unreadable images" in skipped and "bad0.png" in skipped
    assert "and 3 more" in skipped


def test_the_survey_is_kept(tmp_path, monkeypatch):
  root = tmp_path / "set"
  written = write(root, *(f"{i}.png" for i in range(6)))
  open_set(root)
  looked = []
  decode = Decoder.decode

  def counted(self, file):
    looked.append(os.path.basename(file.name))
    return decode(self, file)

  monkeypatch.setattr(Decoder, "decode", counted)
  train, test = open_set(root)
  # Nothing but the first image of each split, for its size.
  assert len(looked) == 2
  looked.clear()
  images, _ = everything((train, test))
  assert same_images(images, written)
  everything((train, test))
  assert len(looked) == 6  # Once each.
  looked.clear()
  written |= write(root, "3.png", "9.png")
  os.utime(root / "3.png", ns=(1, 1))
  (root / "0.png").unlink()
  del written["0.png"]
  splits = open_set(root)
  assert {"3.png", "9.png"} <= set(looked) and len(looked) == 4
  assert same_images(everything(splits)[0], written)
  looked.clear()
  (kept,) = (tmp_path / "kept_set" / "surveys").iterdir()
  kept.write_text(kept.read_text()[:-9])
  open_set(root)
  assert len(looked) == 6 + 2
  looked.clear()
  open_set(root, decoder=Decoder((0, 0, 0)))
  assert len(looked) == 6 + 2


def test_a_survey_that_cannot_be_kept(tmp_path, caplog):
  write(tmp_path / "set", *(f"{i}.png" for i in range(4)))
  (tmp_path / "kept_set").mkdir()
  (tmp_path / "kept_set" / "surveys").touch()
  assert len(everything(open_set(tmp_path / "set"))[0]) == 4
  assert "is not kept" in caplog.text


def test_an_image_that_changes_after_the_survey_is_named(tmp_path):
  write(tmp_path / "set", *(f"{i}.png" for i in range(5)))
  train, _ = open_set(tmp_path / "set")
  (tmp_path / "set" / "1.png").write_bytes(b"?")
  with pytest.raises(UserError, match=r"1\.png cannot be read any more"):
    train.read([0, 1])


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


def edm_set(root, labels, **more):
  names = [f"0000{i // 4}/img{i:08d}.png" for i in range(len(labels))]
  written = write(root, *names)
  listed = [[n, label] for n, label in zip(names, labels, strict=True)]
  record = {"labels": listed, **more}
  (root / "dataset.json").write_text(json.dumps(record))
  return written


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


def test_a_survey_names_no_more_than_it_must(tmp_path, caplog):
  """A file that claims to be enormous is not read."""
  write(tmp_path / "set", *(f"{i}.png" for i in range(4)))
  with (tmp_path / "set" / "large.png").open("wb") as file:
    file.truncate(2 << 30)
  found = survey.survey(
    open_files(tmp_path / "set"), Decoder(max_pixels=1 << 20)
  )
  assert len(found) == 4 and "large.png (the file is too large)" in caplog.text


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


def test_pipes_are_no_data(tmp_path):
  """Reading one would wait for its writer for ever."""
  write(tmp_path / "set", *(f"{i}.png" for i in range(4)))
  os.mkfifo(tmp_path / "set" / "pipe.png")
  assert len(everything(open_set(tmp_path / "set"))[0]) == 4
  assert len(folder.read_small_images(tmp_path / "set", (8,), 3)[0]) == 4
  with pytest.raises(UserError, match="neither a folder nor a file"):
    open_set(tmp_path / "set" / "pipe.png")


def test_names_of_images_to_upscale_are_their_own(tmp_path):
  write(tmp_path, "cat/1.png", "dog/1.png", "a.png", "a.bmp", "B.png")
  names, _ = folder.read_small_images(tmp_path, (8,), 3)
  assert sorted(names) == ["B", "a.bmp", "a.png", "cat/1", "dog/1"]


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


def test_two_links_to_one_folder_are_two_classes(tmp_path):
  write(tmp_path / "real", "0.png", "1.png")
  write(tmp_path / "set", "dog/0.png", "dog/1.png")
  for name in ("cat", "kitten"):
    (tmp_path / "set" / name).symlink_to(tmp_path / "real")
  splits = open_set(tmp_path / "set")
  assert splits[0].class_names == ("cat", "dog", "kitten")


@pytest.mark.parametrize("damage", ["[" * 100_000, "null", "types", "sizes"])
def test_a_damaged_survey_is_none(damage, tmp_path):
  written = write(tmp_path / "set", *(f"{i}.png" for i in range(4)))
  open_set(tmp_path / "set")
  (kept,) = (tmp_path / "kept_set" / "surveys").iterdir()
  record = json.loads(kept.read_text())
  wrong = {"types": ["x", None, 3, ""], "sizes": [-5, 10**9, 7, ""]}
  if damage in wrong:
    for row in record["files"].values():
      row[2:] = wrong[damage]
    damage = json.dumps(record)
  kept.write_text(damage)
  assert same_images(everything(open_set(tmp_path / "set"))[0], written)


def test_names_that_are_no_utf_8(tmp_path):
  root = tmp_path / os.fsdecode(b"\xff\xfe")
  written = write(root, "0.png", os.fsdecode(b"\xff.png"), "2.png", "3.png")
  for _ in range(2):
    assert same_images(everything(open_set(root))[0], written)
