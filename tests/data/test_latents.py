"""Latents are written once, whatever interrupts it, and read as written."""

import dataclasses
import json
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from array_record.python.array_record_module import (
  ArrayRecordReader,
  ArrayRecordWriter,
)

from lowdiff_jax.data import images, pipeline
from lowdiff_jax.data.latents.reader import Latents, open_latents
from lowdiff_jax.data.latents.writer import Processes, write_latents
from lowdiff_jax.types import UserError
from tests.data.latent_writer import SETTINGS, SPLITS, encode


def write(folder, encode=encode, splits=SPLITS, **changes):
  names = changes.keys() & {"flip", "shard_images"}
  layout = SETTINGS["layout"]._replace(**{n: changes.pop(n) for n in names})
  settings = {**SETTINGS, "layout": layout, **changes}
  write_latents(splits, encode, folder, **settings)
  return folder


def contents(folder):
  return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
  """A folder of latents, not to be changed."""
  return write(tmp_path_factory.mktemp("latents"))


@pytest.fixture
def lazy(monkeypatch):
  """No split is small enough to be held in memory."""
  monkeypatch.setattr(images, "MEMORY_LIMIT", 0)


def expected(split, copies, first):
  """Latents and labels of all records, image by image."""
  batch = SPLITS[split].batch
  every = []
  for i, image in enumerate(batch.image):
    for copy in range(copies):
      view = image[:, ::-1] if copy else image
      index = first + copies * i + copy
      every.append([x[0] for x in encode(view[None], [index])])
  latents = [np.stack(x).astype(np.float16) for x in zip(*every, strict=True)]
  return latents, batch.label.repeat(copies)


def check(source, split, copies, first):
  latents, labels = expected(split, copies, first)
  order = np.random.default_rng(0).permutation(len(labels))
  assert len(source) == len(labels)
  batch = source.read(order)
  for ours, theirs in zip(batch.image, latents, strict=True):
    assert ours.dtype == np.float16
    np.testing.assert_array_equal(ours, theirs[order])
  np.testing.assert_array_equal(batch.label, labels[order])
  assert batch.label.dtype == np.int32


def test_latents_of_images_and_of_their_mirror_images(written):
  train, test, info = open_latents(written)
  assert isinstance(train, images.ImagesInMemory)
  assert train.spec == test.spec == (4, 3, 5)
  assert train.class_names == tuple("abcde")
  assert info.resolutions == (2, 4)
  assert info.provenance == SETTINGS["provenance"]
  check(train, "train", copies=2, first=0)
  check(test, "test", copies=1, first=28)


def test_read_from_shards_as_from_memory(written, lazy):
  train, test, _ = open_latents(written)
  assert isinstance(train, Latents)
  check(train, "train", copies=2, first=0)
  check(test, "test", copies=1, first=28)


def test_threads_share_a_source(written, lazy):
  train, _, _ = open_latents(written)
  latents, _ = expected("train", 2, 0)
  wrong = []

  def work(seed):
    rng = np.random.default_rng(seed)
    for _ in range(50):
      picks = rng.integers(0, len(train), 16)
      if (train.read(picks).image[1] != latents[1][picks]).any():
        wrong.append(picks)

  threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert not wrong


class Waiting:
  """A reader of a shard that reads only while others do."""

  def __init__(self, reader, others):
    self.reader, self.others = reader, others

  def read(self, positions):
    self.others.wait(timeout=60)
    return self.reader.read(positions)


def test_shards_are_read_at_the_same_time(written, lazy, monkeypatch):
  monkeypatch.setattr(images, "THREADS", 4)
  monkeypatch.setattr(images, "reading_threads", lambda: ThreadPoolExecutor(4))
  train, _, _ = open_latents(written)
  together = threading.Barrier(4)
  readers = [Waiting(reader, together) for reader in train.readers]
  assert len(readers) == 4
  batch = dataclasses.replace(train, readers=readers).read(range(28))
  latents, labels = expected("train", 2, 0)
  np.testing.assert_array_equal(batch.image[1], latents[1])
  np.testing.assert_array_equal(batch.label, labels)


def test_statistics_are_those_of_the_records(written):
  train, _, info = open_latents(written)
  every = train.read(range(len(train))).image[1].astype(np.float64)
  np.testing.assert_allclose(info.mean, every.mean((0, 1, 2)), rtol=1e-6)
  np.testing.assert_allclose(info.std, every.std((0, 1, 2)), rtol=1e-6)


def test_one_resolution_and_no_mirror_images(tmp_path):
  write(tmp_path, lambda *batch: encode(*batch)[1:], flip=False)
  train, _, info = open_latents(tmp_path)
  batch = train.read([3, 0])
  assert batch.image.shape == (2, 4, 4, 3) and info.resolutions == (4,)
  (_, latents), labels = expected("train", 1, 0)
  np.testing.assert_array_equal(batch.image, latents[[3, 0]])
  np.testing.assert_array_equal(batch.label, labels[[3, 0]])


def test_the_encoder_is_called_with_one_size(tmp_path):
  shapes = set()

  def watched(images, indices):
    shapes.add((images.shape, indices.shape))
    return encode(images, indices)

  write(tmp_path, watched)
  assert shapes == {((3, 8, 8, 3), (3,))}


def test_killed_and_started_again(written, tmp_path):
  """By SIGKILL, in the first shard, in the third, and in the other split."""
  for record in (4, 19, 30, None):
    command = [sys.executable, "-m", "tests.data.latent_writer", str(tmp_path)]
    done = subprocess.run(
      [*command, *([] if record is None else [str(record)])],
      capture_output=True,
      text=True,
    )
    assert done.returncode == (0 if record is None else -9), done.stderr
    if record is not None:
      assert list(tmp_path.glob("*.partial"))
      with pytest.raises(
        UserError, match="was not finished: run --mode=encode"
      ):
        open_latents(tmp_path)
  assert "train: 0 of 4 shards" in done.stdout
  assert contents(tmp_path) == contents(written)


def test_killed_between_a_shard_and_its_sidecar(written, tmp_path, capsys):
  write(tmp_path)
  (tmp_path / "train-00001-of-00004.json").unlink()
  write(tmp_path)
  assert "train-00001-of-00004.array_record was not finished" in (
    capsys.readouterr().out
  )
  assert contents(tmp_path) == contents(written)


def test_processes_share_the_shards(written, tmp_path):
  waits = []
  for index in (1, 0):
    write(tmp_path, processes=Processes(index, 2, lambda: waits.append(0)))
  assert len(waits) == 4
  assert contents(tmp_path) == contents(written)


def test_a_process_that_wrote_elsewhere(tmp_path):
  with pytest.raises(UserError, match=r"train-00001-.* not written by its pro"):
    write(tmp_path, processes=Processes(count=2))


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
