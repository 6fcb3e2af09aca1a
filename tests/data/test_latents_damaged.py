"""Latents that are damaged, cut off or of another encoding are refused."""

import json
import shutil

import pytest
from array_record.python.array_record_module import (
  ArrayRecordReader,
  ArrayRecordWriter,
)

from lowdiff_jax.data import pipeline
from lowdiff_jax.data.latents.reader import open_latents
from lowdiff_jax.types import UserError
from tests.data.latent_writer import SETTINGS, SPLITS, contents, encode, write
from tests.data.test_latents import expected


def damage(folder):
  """Reverses the latent of record 1 where it lies."""
  path = folder / "train-00000-of-00004.array_record"
  (low, _), _ = expected("train", 2, 0)
  data, latent = path.read_bytes(), low[1].tobytes()
  assert data.count(latent) == 1
  path.write_bytes(data.replace(latent, latent[::-1]))
  return path


def test_damage_is_named_and_written_again(written, tmp_path, capsys, lazy):
  write(tmp_path)
  path = damage(tmp_path)
  train, _, _ = open_latents(tmp_path)
  train.read([0, *range(2, len(train))])
  message = rf"{path} is damaged \(.*\); run --mode=encode again.*rewrites it"
  with pytest.raises(UserError, match=message):
    train.read([9, 1])
  # The threads that read ahead do not change what the user sees.
  with pytest.raises(UserError, match=message):
    next(pipeline.batches(train, batch_size=28, seed=0))
  capsys.readouterr()
  write(tmp_path)
  out = capsys.readouterr().out
  assert f"{path} is damaged: it is written again" in out
  assert "train: 1 of 4 shards" in out and "test: 0 of 2 shards" in out
  assert contents(tmp_path) == contents(written)


def test_a_record_that_was_changed_before_it_was_written(tmp_path, lazy):
  """Only its own CRC can tell: the file's are right."""
  path = write(tmp_path) / "train-00002-of-00004.array_record"
  records = ArrayRecordReader(str(path)).read_all()
  records[5] = bytes(10) + records[5][10:]
  writer = ArrayRecordWriter(str(path), "group_size:1,uncompressed")
  for record in records:
    writer.write(record)
  writer.close()
  train, _, _ = open_latents(tmp_path)
  with pytest.raises(UserError, match=f"{path} .*the CRC of record 5 is wrong"):
    train.read(range(len(train)))


def test_any_byte_of_a_small_set_is_checked(tmp_path):
  """Even one that no record is made of."""
  path = write(tmp_path) / "train-00002-of-00004.array_record"
  path.write_bytes(path.read_bytes()[:-1] + b"x")
  with pytest.raises(UserError, match=f"{path} is damaged .*rewrites it"):
    open_latents(tmp_path)


def test_cut_off_and_missing_shards(tmp_path):
  write(tmp_path)
  path = tmp_path / "test-00001-of-00002.array_record"
  data = path.read_bytes()
  path.write_bytes(data[:100])
  message = f"{path} has 100 bytes instead of {len(data)}; run .* rewrites it"
  with pytest.raises(UserError, match=message):
    open_latents(tmp_path)
  path.unlink()
  with pytest.raises(UserError, match=f"{path} has 0 bytes"):
    open_latents(tmp_path)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (
      {"provenance": {**SETTINGS["provenance"], "crop": "center"}},
      r"provenance\.crop = 'adm', now it is 'center'",
    ),
    (
      {"provenance": {**SETTINGS["provenance"], "autoencoder": {}}},
      r"provenance\.autoencoder\.sha256 = 'abc', now it is 'nothing'",
    ),
    ({"flip": False}, "flip = True, now it is False"),
    ({"shard_images": 5}, "shard_images = 4, now it is 5"),
    (
      {"splits": {**SPLITS, "test": SPLITS["train"]}},
      r"images\.test = 5, now it is 14",
    ),
  ],
)
def test_a_folder_keeps_to_one_way_of_encoding(written, changes, message):
  before = contents(written)
  with pytest.raises(UserError, match=f"{message}: choose another folder, or"):
    write(written, **changes)
  assert contents(written) == before


def test_no_latents(tmp_path):
  with pytest.raises(
    UserError, match=f"no latents in {tmp_path / 'a'}: run --"
  ):
    open_latents(tmp_path / "a")


def test_manifests_that_cannot_be_used(tmp_path):
  path = write(tmp_path) / "latents.json"
  whole = json.loads(path.read_text())
  for text, message in [
    (
      json.dumps({k: v for k, v in whole.items() if k != "std"}),
      r"cannot be read \(it lacks std\)",
    ),
    (json.dumps({**whole, "version": 0}), "is of version 0, this program re"),
    ("{", "cannot be read"),
  ]:
    path.write_text(text)
    with pytest.raises(UserError, match=f"{path} {message}.*run --mode=encode"):
      open_latents(tmp_path)


@pytest.mark.parametrize(
  "change",
  [
    {"shapes": [[2, 2, 3], [4, 4]]},
    {"shapes": [[4, 2, 3], [4, 4, 3]]},
    {"shapes": 3},
    {"mean": ["a", 0, 0]},
    {"mean": [1e308, 0, 0]},
    {"std": [1, 1]},
    {"num_classes": 4},
    {"class_names": None},
    {"provenance": []},
    {"splits": {"train": {"shards": []}, "test": {"shards": []}}},
    {"splits": []},
    {"version": "1"},
  ],
)
def test_manifests_with_a_wrong_value(written, tmp_path, change):
  manifest = json.loads((written / "latents.json").read_text())
  path = tmp_path / "latents.json"
  path.write_text(json.dumps({**manifest, **change}))
  with pytest.raises(UserError, match=f"{path} cannot be read .*run --mode"):
    open_latents(tmp_path)


@pytest.mark.parametrize(
  ("key", "value"),
  [
    ("file", "../other"),
    ("count", "8"),
    ("bytes", 3),
    ("sha256", 7),
  ],
)
def test_manifests_with_a_wrong_shard(written, tmp_path, key, value):
  shutil.copytree(written, tmp_path / "set")
  path = tmp_path / "set" / "latents.json"
  manifest = json.loads(path.read_text())
  manifest["splits"]["test"]["shards"][0][key] = value
  path.write_text(json.dumps(manifest))
  with pytest.raises(UserError, match="run --mode=encode again"):
    open_latents(tmp_path / "set")


def test_a_shard_of_other_records(written, tmp_path):
  """Whole, but with another number of records than the manifest says."""
  shutil.copytree(written, tmp_path / "set")
  path = tmp_path / "set" / "latents.json"
  manifest = json.loads(path.read_text())
  manifest["splits"]["test"]["shards"][0]["count"] += 1
  path.write_text(json.dumps(manifest))
  with pytest.raises(UserError, match="4 records instead of 5"):
    open_latents(tmp_path / "set")


@pytest.mark.parametrize(
  ("key", "value"),
  [("sha256", 7), ("count", 3), ("sum", ["a"]), ("shapes", {}), ("bytes", 9)],
)
def test_a_wrong_sidecar_is_written_again(written, tmp_path, key, value):
  shutil.copytree(written, tmp_path / "set")
  sidecar = tmp_path / "set" / "test-00000-of-00002.json"
  summary = json.loads(sidecar.read_text())
  sidecar.write_text(json.dumps({**summary, key: value}))
  write(tmp_path / "set")
  assert contents(tmp_path / "set") == contents(written)


def test_a_folder_in_place_of_a_file(written, tmp_path):
  for name in ("test-00000-of-00002.json", "latents.json", "settings.json"):
    folder = tmp_path / name
    shutil.copytree(written, folder)
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(UserError, match=r"cannot be (written|read)|is no file"):
      write(folder)


def test_latents_that_are_not_finite(tmp_path):
  def broken(images, indices):
    low, high = encode(images, indices)
    high[indices == 7] *= 1e6
    return low, high

  with pytest.raises(UserError, match="record 7 is not finite in float16"):
    write(tmp_path, broken)


def test_no_space_left(tmp_path):
  full = tmp_path / "train-00000-of-00004.array_record.partial"
  full.symlink_to("/dev/full")
  with pytest.raises(UserError, match=r"cannot be written .*No space left"):
    write(tmp_path)
