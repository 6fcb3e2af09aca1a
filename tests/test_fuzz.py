"""Damaged and odd inputs: a short run, and a fuzzer that notices faults."""

import multiprocessing
import time
from multiprocessing.context import SpawnProcess

import pytest

from launch.fuzz.__main__ import table, tasks
from launch.fuzz.pool import Pool
from launch.fuzz.reader import FAILED, READ, REFUSED, Result, random_of
from launch.fuzz.readers import readers
from launch.fuzz.worker import Inputs
from tests import fuzz_faults

SEED = 6


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
  return Inputs(readers, SEED, tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("name", list(readers()))
def test_damaged_and_odd_inputs(inputs, name):
  """Each is refused in one line, skipped with a warning, or read."""
  shares = {name: readers()[name].share}
  for _, number in tasks(shares, first=0, inputs=12, seconds=0):
    result = inputs.result(name, number)
    assert result.outcome != FAILED, (number, result.detail)


def test_an_input_is_a_function_of_its_number(tmp_path):
  contents = []
  for copy in ("a", "b"):
    reader = readers()["weights.pt"](tmp_path)
    folder = tmp_path / copy
    folder.mkdir()
    path = reader.make(random_of(3, reader.name, 5), folder)
    contents.append(path.read_bytes())
  assert contents[0] == contents[1]


def test_faults_are_noticed_and_kept(tmp_path):
  names = ["raises", "dies", "fine", "hangs", "fills", "fine"]
  pool = Pool(fuzz_faults.readers, SEED, limit=4.0, mebibytes=200)
  since = time.monotonic()
  todo = iter([(name, i) for i, name in enumerate(names)])
  results = {r.number: r for r in pool.run(todo, 2, tmp_path / "kept")}
  assert time.monotonic() - since < 60
  assert sorted(results) == list(range(len(names)))
  said = [results[i].detail for i in range(len(names))]
  assert "KeyError: 'of no such name'" in said[0]
  assert "the process died (9)" in said[1]
  assert "no end after 4 s" in said[3]
  assert "it took 3" in said[4] and "MiB" in said[4]
  assert [results[i].outcome for i in (2, 5)] == [READ, READ]
  kept = sorted(path.name for path in (tmp_path / "kept").iterdir())
  assert kept == ["dies-1", "fills-4", "hangs-3", "raises-0"]
  note = (tmp_path / "kept" / "hangs-3" / "FAILURE.txt").read_text()
  assert "--seed=6 --only=hangs --first=3 --inputs=1" in note
  assert (tmp_path / "kept" / "hangs-3" / "input").exists()


def test_a_death_right_after_the_pool_asked_is_noticed(tmp_path, monkeypatch):
  """The worker was alive when asked, and is dead when next looked at."""
  hangs = tmp_path / "hangs"
  monkeypatch.setenv("FUZZ_HANGS", str(hangs))
  asked = SpawnProcess.is_alive

  def is_alive(process):
    was = asked(process)
    if hangs.exists():
      process.kill()
      process.join()
      hangs.unlink()
    return was

  monkeypatch.setattr(SpawnProcess, "is_alive", is_alive)
  pool = Pool(fuzz_faults.readers, SEED, limit=60.0)
  (result,) = pool.run(iter([("hangs", 0)]), 1, None)
  assert result.outcome == FAILED and "the process died (-9)" in result.detail


@pytest.mark.parametrize("fault", ["leaves", "ignores"])
def test_a_death_after_a_result_is_no_fault_of_the_next_input(fault):
  pool = Pool(fuzz_faults.readers, SEED)
  results = pool.run(iter([(fault, 0), ("fine", 1)]), 1, None)
  assert next(results).outcome == READ
  if fault == "leaves":
    # It is dead when it is given the next task, or is so already.
    for worker in multiprocessing.active_children():
      worker.join(60)
  assert [(r.number, r.outcome) for r in results] == [(1, READ)]


def test_the_table():
  results = [
    Result("a", 0, REFUSED, "", 0.5, 1.0),
    Result("a", 1, FAILED, "", 1.5, 3.0),
    Result("b", 0, READ, "", 0.1, 2.0),
  ]
  head, *lines = table(results)
  assert head.split()[:3] == ["reader", "inputs", "refused"]
  assert lines[0].split()[:8] == ["a", "2", "1", "0", "0", "1", "1.50", "3"]
  assert lines[2].split()[:3] == ["all", "3", "1"]


def test_slow_readers_have_their_share():
  found = list(tasks({"a": 1.0, "b": 0.3}, first=5, inputs=10, seconds=0))
  assert [n for name, n in found if name == "a"] == list(range(5, 15))
  assert [n for name, n in found if name == "b"] == [5, 6, 7]
