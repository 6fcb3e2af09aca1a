"""Files in a bucket: whole or not at all, and one line if they cannot be."""

import json
import os
import signal
import socket

import pytest

from lowdiff_jax import buckets, files, leases, locks
from lowdiff_jax.cli import faults
from lowdiff_jax.train import manifest
from lowdiff_jax.train.writer import MetricWriter
from lowdiff_jax.types import UserError
from tests import command_line


@pytest.fixture
def folder(bucket, request):
  """A folder of a test's own."""
  return files.expanded(f"{bucket}/{request.node.name}")


@pytest.mark.parametrize("path", ["s3://bucket/a", "gs://", "http://a/b"])
def test_other_stores_are_refused(path):
  with pytest.raises(UserError, match="expected a path on a disk or gs://BUCK"):
    files.expanded(path)


def test_a_file_is_replaced_when_all_of_it_is_written(folder):
  path = folder / "a.json"
  files.write_json(path, [1])
  with pytest.raises(KeyError), files.replacing(path) as partial:
    partial.write_text("half of i")
    raise KeyError
  assert json.loads(path.read_text()) == [1]
  files.write_json(path, [2])
  assert json.loads(path.read_text()) == [2]
  assert [one.name for one in folder.iterdir()] == ["a.json"]


def test_folders_are_those_with_objects(folder):
  files.make_folder(folder)
  assert not files.is_folder(folder)
  files.write_text(folder / "a" / "b", "")
  assert files.is_folder(folder)
  for _ in range(2):
    files.remove_folder(folder)
  assert not files.is_folder(folder)


def test_a_copy_is_fetched_again_if_the_object_has_changed(folder):
  files.write_text(folder / "a", "old")
  copy = files.local(folder / "a")
  assert copy.read_text() == "old"
  changed = copy.stat().st_mtime_ns
  assert files.local(folder / "a").stat().st_mtime_ns == changed
  files.write_text(folder / "a", "new")
  assert files.local(folder / "a").read_text() == "new"
  (line,) = refused(lambda: files.local(folder / "b")).splitlines()
  assert line == f"{folder}/b cannot be read (No such file or directory)"
  assert "it is a folder in a bucket" in refused(lambda: files.local(folder))


def refused(call):
  """What it says."""
  with pytest.raises(UserError) as error:
    call()
  return str(error.value)


def test_a_bucket_that_is_not_there(bucket):
  path = files.expanded("gs://nobody/run/a")
  assert refused(lambda: files.write_text(path, "")) == (
    f"{path} cannot be read or written (there is no such bucket): make it, or "
    "name another; the same command then goes on"
  )


class _Hurried:
  """No pauses between the attempts to reach a bucket."""

  @staticmethod
  async def sleep(seconds):
    del seconds


def test_a_bucket_that_does_not_answer(bucket, monkeypatch):
  with socket.socket() as free:
    free.bind(("localhost", 0))
    nowhere = f"http://localhost:{free.getsockname()[1]}"
  monkeypatch.setattr("gcsfs.retry.asyncio", _Hurried)
  monkeypatch.setattr(buckets.file_system(), "_endpoint", nowhere)
  path = files.expanded(f"{bucket}/a")
  why = f"{path} cannot be read or written (it does not answer): check the net"
  assert refused(lambda: files.write_text(path, "")).startswith(why)
  with pytest.raises(Exception) as error:  # And not "there is none".
    files.is_folder(path)
  assert buckets.fault(error.value).reason == "it does not answer"
  with pytest.raises(UserError) as error:
    files.local(path)
  assert str(error.value) == f"{path} cannot be read (it does not answer)"
  with pytest.raises(SystemExit) as end:  # So that it is started again.
    faults.end(error.value)
  assert end.value.code == os.EX_TEMPFAIL


@pytest.mark.parametrize(
  ("error", "reason"),
  [
    (
      OSError("Forbidden: https://storage/b/x\nAnonymous caller"),
      "not allowed",
    ),
    (ValueError('PERMISSION_DENIED: Error writing "gs://b/x"'), "not allowed"),
    (ValueError('UNAVAILABLE: error at "https://x"'), "it does not answer"),
    (
      ValueError("ABORTED: All 32 retry attempts failed: CURL error Could not"),
      "it does not answer",
    ),
    (FileNotFoundError("http://x/storage/v1/b/y/o"), "there is no such bucket"),
    (OSError("Forbidden"), None),
    (RuntimeError("RESOURCE_EXHAUSTED: Out of memory"), None),
  ],
)
def test_faults_of_a_bucket_are_told_from_others(error, reason):
  fault = buckets.fault(error)
  assert (fault and fault.reason) == reason
  assert buckets.is_away(error) == (reason == "it does not answer")


def test_metrics_are_there_after_each_log(folder):
  writer = MetricWriter(folder)
  for step in (1, 2, 3):
    writer.write_scalars(step, {"loss": step})
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == step
  assert len(list((folder / "tensorboard").iterdir())) == 1
  # The next start goes on from a checkpoint of step 2.
  writer = MetricWriter(folder, 2)
  writer.write_scalars(3, {"loss": 4})
  writer.close()
  lines = (folder / "metrics.jsonl").read_text().splitlines()
  logged = [
    (record["step"], record["loss"]) for record in map(json.loads, lines)
  ]
  assert logged == [(1, 1), (2, 2), (3, 4)]


@pytest.mark.parametrize("name", ["../a", "/dev/zero", "b/../../a"])
def test_a_manifest_names_files_of_its_checkpoint_alone(name, tmp_path):
  (tmp_path / "a").write_text("a")
  checkpoint = tmp_path / "1"
  checkpoint.mkdir()
  wanted = files.sha256(tmp_path / "a")
  files.write_json(checkpoint / manifest.MANIFEST, {name: wanted})
  damaged = checkpoint / manifest.MANIFEST
  assert manifest.damaged_file(checkpoint) == damaged


def test_a_manifest_is_of_the_sums_that_the_store_keeps(folder, tmp_path):
  for name in ("a", "state/b"):
    files.write_text(folder / name, name)
  manifest.write_manifest(folder)
  assert manifest.damaged_file(folder) is None
  sums = json.loads((folder / manifest.MANIFEST).read_text())
  assert sums["state/b"] == "md5:IAbJFAeM3KZiTdDJIId1kw=="
  # Copied to a disk it is checked there, and a manifest of a disk in a bucket.
  for name in ("a", "state/b", manifest.MANIFEST):
    copy = tmp_path / name
    copy.parent.mkdir(exist_ok=True)
    copy.write_bytes((folder / name).read_bytes())
  assert manifest.damaged_file(tmp_path) is None
  (tmp_path / "a").write_text("b")
  assert manifest.damaged_file(tmp_path) == tmp_path / "a"
  files.write_text(folder / "state/b", "c")
  assert manifest.damaged_file(folder) == folder / "state/b"
  sums["state/b"] = files.sha256(folder / "state/b")
  files.write_json(folder / manifest.MANIFEST, sums)
  assert manifest.damaged_file(folder) is None


@pytest.fixture
def holder(folder):
  """Another process that holds the lock until it reads a line."""
  process = command_line.lock_holder(folder)
  yield process
  process.kill()
  process.communicate()


def take(folder):
  with locks.owned(folder, "train"):
    return json.loads((folder / ".train.lock").read_text())


def test_a_lock_that_is_renewed_is_held(folder, holder):
  said = refused(lambda: take(folder))
  assert f"{folder} is being written by process {holder.pid} (train)" in said
  holder.communicate("\n")
  assert take(folder)["pid"] == os.getpid()
  assert not files.is_folder(folder)


def test_a_lock_of_a_killed_process_of_this_host_is_taken(folder, holder):
  holder.send_signal(signal.SIGKILL)
  holder.wait()
  assert take(folder)["pid"] == os.getpid()


def test_a_lock_that_is_not_renewed_expires(folder, monkeypatch):
  monkeypatch.setattr(leases, "EXPIRED", 0.5)
  monkeypatch.setattr(leases, "_PAUSE", 0.1)
  owner = {"pid": 1, "host": "elsewhere", "started": "then", "mode": "train"}
  files.write_json(folder / ".train.lock", owner)
  assert take(folder)["pid"] == os.getpid()


def test_who_has_lost_a_lock_ends(folder, holder):
  files.write_text(folder / ".train.lock", "{}")
  assert holder.wait() == 2
  errors = holder.stderr.read()
  assert errors.startswith(f"error: {folder}/.train.lock was taken over by an")
