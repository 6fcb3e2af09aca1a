"""Whole runs in a bucket, through the real command line."""

import json
import os
import signal
import subprocess
import sys

import chex
import numpy as np
import pytest

import lowdiff_jax as ld
from lowdiff_jax import buckets, files
from lowdiff_jax.train.watchdog import STATUS
from tests import command_line, many_processes, runs


def training_logs(workdir):
  """What metrics.jsonl says of the second half, but for the time it took.

  A run that is told to stop logs at that step, too.
  """
  logs = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
  timed = "images_per_second", "goodput/"
  return [
    {name: x for name, x in log.items() if not name.startswith(timed)}
    for log in logs
    if "loss" in log and log["step"] > runs.STEPS // 2
  ]


def names(folder):
  return {
    name.split("/")[0]
    for name in buckets.sums(folder)
    if not name.startswith((".", "checkpoints/"))
  }


def saved(workdir, step):
  return (workdir / "checkpoints" / str(step) / "commit_success.txt").exists()


def ended(processes, status):
  """What each printed, and its errors, after an end with this status."""
  done = many_processes.results(processes)
  for found, _, errors in done:
    assert found == status and "Traceback" not in errors, errors
  return [printed for _, printed, _ in done]


@pytest.fixture(scope="module")
def run(bucket, data_dir):
  """A run of two processes in a bucket: one told to stop, later one killed."""
  workdir = files.expanded(f"{bucket}/run")

  def start():
    more = "--heartbeat=5"
    return runs.start_two(workdir, data_dir, more, **runs.HALVES)

  both = start()
  # They compile, and agree on a step later.
  runs.wait_for(both[0], (workdir / "config.json").exists, "config")
  both[1].send_signal(signal.SIGTERM)
  printed = ended(both, 128 + signal.SIGTERM)
  stopped = int(printed[0].split("stopped at step ")[1].split()[0])
  assert saved(workdir, stopped) and stopped < runs.STEPS // 2

  both = start()
  runs.wait_for(both[0], lambda: saved(workdir, runs.STEPS // 2), "checkpoint")
  both[1].kill()
  (status, printed, errors), _ = many_processes.results(both)
  assert f"resuming at step {stopped}" in printed
  assert status == STATUS and "Traceback" not in errors, errors
  (line,) = [x for x in errors.splitlines() if x.startswith("error: ")]
  assert "process 1" in line

  printed = ended(start(), 0)
  assert f"resuming at step {runs.STEPS // 2}" in printed[0]
  return workdir


def test_an_interrupted_run_ends_with_the_bits_of_one_on_a_disk(run, two):
  chex.assert_trees_all_equal(runs.final_state(run), runs.final_state(two))
  assert training_logs(run) == training_logs(two) != []
  there = {path.name for path in two.iterdir() if path.name[0] != "."}
  assert names(run) | {"checkpoints"} == there
  assert not os.path.exists(command_line.REPOSITORY / "gs:")
  # Each start has its own events.
  assert len(list((run / "tensorboard").iterdir())) == 3
  for image in ("samples/000000.png", "samples/grid.png"):
    assert (run / image).read_bytes() == (two / image).read_bytes()
  scores = [
    json.loads(next(iter((root / "scores").glob("*.json"))).read_text())
    for root in (run, two)
  ]
  assert scores[0]["generated"] == scores[1]["generated"]
  left = buckets.sums(run)
  assert not [name for name in left if name.endswith((".lock", ".npz"))]


def test_a_model_is_loaded_and_exported(run, two, bucket):
  images = ld.load(two).sample(2)
  model = ld.load(str(run))
  np.testing.assert_array_equal(model.sample(2), images)
  model.export(f"{bucket}/model")
  np.testing.assert_array_equal(ld.load(f"{bucket}/model").sample(2), images)


def test_a_damaged_object_of_a_checkpoint_is_named(run, caplog):
  """The checkpoint before it is used."""
  folder = run / "checkpoints" / "14"
  name = max(n for n in buckets.sums(folder) if n.startswith("ema/ocdbt."))
  before = (folder / name).read_bytes()
  (folder / name).write_bytes(before[:-1] + b"?")
  try:
    ld.load(str(run))
    (warning,) = [
      r.getMessage() for r in caplog.records if r.levelname == "WARNING"
    ]
    assert warning == (
      f"{folder / name} is damaged: the checkpoint of step 7 is used instead"
    )
  finally:
    (folder / name).write_bytes(before)


COMPILE = """
import jax
import lowdiff_jax.buckets
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
print(jax.jit(lambda x: x + 1)(1.0))
"""


def test_compiled_programs_are_kept(bucket):
  cache = f"{bucket}/compiled"
  written = []
  for _ in range(2):
    subprocess.run(
      [sys.executable, "-c", COMPILE],
      cwd=command_line.REPOSITORY,
      env=command_line.environment(JAX_COMPILATION_CACHE_DIR=cache),
      check=True,
    )
    found = buckets.file_system().find(cache, detail=True)
    written.append({name: one["generation"] for name, one in found.items()})
  assert written[0] and written[0] == written[1]
