"""One owner of each kind of output, by real processes."""

import errno
import fcntl
import json
import os
import re
import signal
import socket

import pytest

from lowdiff_jax import locks
from lowdiff_jax.types import UserError
from tests import command_line, many_processes


@pytest.fixture
def holder(tmp_path):
  """Another process that holds the lock until it reads a line."""
  process = command_line.lock_holder(tmp_path)
  yield process
  process.kill()
  process.communicate()


def take(folder, kind="train", **kwargs):
  with locks.owned(folder, kind, **kwargs):
    return json.loads((folder / f".{kind}.lock").read_text())


def test_a_second_process_is_refused_with_the_name_of_the_first(
  tmp_path, holder
):
  with pytest.raises(UserError) as error:
    take(tmp_path)
  assert re.fullmatch(
    rf"{tmp_path} is being written by process {holder.pid} \(train\) on host "
    rf"{socket.gethostname()} since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d: wait for "
    r"it or stop it, or choose another folder \(--workdir\)",
    str(error.value),
  )
  # Another kind of output has an owner of its own.
  assert take(tmp_path, "sample")["pid"] == os.getpid()


def test_a_lock_ends_with_its_process_however_that_ends(tmp_path, holder):
  holder.send_signal(signal.SIGKILL)
  holder.wait()
  assert (tmp_path / ".train.lock").exists()
  owner = take(tmp_path)
  assert (owner["pid"], owner["mode"]) == (os.getpid(), "train")
  assert list(tmp_path.iterdir()) == []


def test_one_who_waits_says_so_once(tmp_path, holder, capsys, monkeypatch):
  def pause(seconds):
    if pauses.append(seconds) or len(pauses) == 2:
      holder.communicate("\n")

  pauses = []
  monkeypatch.setattr(locks.time, "sleep", pause)
  assert take(tmp_path, wait=True)["pid"] == os.getpid()
  said = capsys.readouterr().out
  assert said.count("waiting for it to end") == 1 and str(holder.pid) in said
  assert len(pauses) == 2


def test_all_processes_of_a_run_hear_of_a_refusal(tmp_path, data_dir, holder):
  flags = f"--workdir={tmp_path}", f"--config.data.dir={data_dir}"
  run = many_processes.start([command_line.command(*flags)] * 2)
  done = many_processes.results(run)
  told = [errors for *_, errors in done]
  assert [status for status, *_ in done] == [2, 2], told
  assert f"being written by process {holder.pid} " in told[0]
  assert "process 0 was refused its lock" in told[1]
  assert not [text for text in told if "Traceback" in text]


@pytest.fixture
def no_flock(monkeypatch):
  """A file system without it; none is at hand."""

  def flock(*unused):
    raise OSError(errno.ENOLCK, "No locks available")

  monkeypatch.setattr(fcntl, "flock", flock)


def test_without_flock_the_content_is_the_lock(tmp_path, holder, no_flock):
  with pytest.raises(UserError, match=f"by process {holder.pid} "):
    take(tmp_path)
  holder.kill()
  holder.wait()
  assert take(tmp_path)["pid"] == os.getpid()


def test_without_flock_another_host_is_believed(tmp_path, no_flock):
  path = tmp_path / ".train.lock"
  owner = {"pid": 1, "host": "elsewhere", "started": "then", "mode": "train"}
  path.write_text(json.dumps(owner))
  with pytest.raises(UserError, match=f"if it has ended, delete {path}"):
    take(tmp_path)
  path.write_text("{")  # What a kill may leave is nobody's.
  assert take(tmp_path)["pid"] == os.getpid()
