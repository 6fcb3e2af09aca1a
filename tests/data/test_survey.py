"""What is left out of a set of image files, and the survey that is kept."""

import json
import os

import pytest

from lowdiff_jax.data import survey
from lowdiff_jax.data.datasets import folder
from lowdiff_jax.data.decode import Decoder
from lowdiff_jax.data.file_set import open_files
from lowdiff_jax.types import UserError
from tests.data.image_folders import (
  everything,
  open_set,
  same_images,
  write,
)


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


def test_a_survey_names_no_more_than_it_must(tmp_path, caplog):
  """A file that claims to be enormous is not read."""
  write(tmp_path / "set", *(f"{i}.png" for i in range(4)))
  with (tmp_path / "set" / "large.png").open("wb") as file:
    file.truncate(2 << 30)
  found = survey.survey(
    open_files(tmp_path / "set"), Decoder(max_pixels=1 << 20)
  )
  assert (
    len(found) == 4 and "large.png (the file is too large for" in caplog.text
  )


def test_pipes_are_no_data(tmp_path):
  """Reading one would wait for its writer for ever."""
  write(tmp_path / "set", *(f"{i}.png" for i in range(4)))
  os.mkfifo(tmp_path / "set" / "pipe.png")
  assert len(everything(open_set(tmp_path / "set"))[0]) == 4
  assert len(folder.read_small_images(tmp_path / "set", (8,), 3)[0]) == 4
  with pytest.raises(UserError, match="neither a folder nor a file"):
    open_set(tmp_path / "set" / "pipe.png")


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
  root = tmp_path / "set"
  written = write(root, "0.png", os.fsdecode(b"\xff.png"), "2.png", "3.png")
  for _ in range(2):
    assert same_images(everything(open_set(root))[0], written)
