"""What a whole run keeps and tells, by the fields that say so."""

import json

import jax
import pytest

from tests import command_line


@pytest.fixture(scope="module")
def run(tmp_path_factory, data_dir):
  """The folder of a run of 10 steps, and its process."""
  workdir = tmp_path_factory.mktemp("long")
  done = command_line.run(
    f"--workdir={workdir}",
    f"--config.data.dir={data_dir}",
    "--config.train.keep_checkpoints=1",
    "--config.train.keep_every_images=24",
    "--config.train.keep_best=True",
    "--config.train.non_finite=skip",
    "--config.train.profile=(3, 5)",
    "--config.train.stall_minutes=60",
    "--config.evaluation.images=0",
  )
  assert done.returncode == 0, done.stderr
  return workdir, done


def test_checkpoints_are_kept_by_policy(run):
  folder = run[0] / "checkpoints"
  best = json.loads((folder / "best.json").read_text())["step"]
  kept = {int(path.name) for path in folder.iterdir() if path.is_dir()}
  # Step 5 was the best when step 10 was saved.
  assert best in (5, 10) and kept == {3, 5, 6, 9, 10}


def test_the_trace_is_of_the_steps(run):
  """In the layout that TensorBoard reads."""
  (path,) = run[0].glob("profile/plugins/profile/*/*.xplane.pb")
  trace = jax.profiler.ProfileData.from_file(str(path))
  steps = [
    dict(event.stats)["step_num"]
    for plane in trace.planes
    for line in plane.lines
    for event in line.events
    if event.name == "train"
  ]
  assert steps == [3, 4, 5]
  assert f"--logdir={run[0]}/profile" in run[1].stdout


def test_logs_have_the_goodput_and_the_skipped_steps(run):
  lines = (run[0] / "metrics.jsonl").read_text().splitlines()
  last = [line for line in map(json.loads, lines) if "loss" in line][-1]
  parts = [name for name in last if name.startswith("goodput/")]
  assert len(parts) == 6 and sum(last[name] for name in parts) == pytest.approx(
    1
  )
  assert last["skipped_steps"] == 0
  (line,) = [x for x in run[1].stdout.splitlines() if x.startswith("goodput")]
  assert ", compile " in line


def test_there_is_no_progress_bar_without_a_terminal(run):
  assert "img/s" not in run[1].stderr and "%|" not in run[1].stderr
