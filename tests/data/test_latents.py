"""Latents are written once, whatever interrupts it, and read as written."""

import dataclasses
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lowdiff_jax.data import images
from lowdiff_jax.data.latents.reader import Latents, open_latents
from lowdiff_jax.data.latents.writer import Processes
from lowdiff_jax.types import UserError
from tests.data.latent_writer import SETTINGS, SPLITS, contents, encode, write


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
