"""Interrupted runs end where uninterrupted ones do, bit for bit."""

import signal
import time

import chex
import jax
import pytest

from launch.drill.disk import SmallDisk
from lowdiff_jax.train.checkpoint import Checkpoints
from tests import command_line, many_processes, tiny

# So many steps, each with a checkpoint; what they are scored by is no matter.
STEPS = 24
FIELDS = {
  "train.images": 8 * STEPS,
  "train.log_images": 16,
  "train.evaluate_images": 8 * STEPS,
  "train.checkpoint_images": 8,
  "evaluation.images": 0,
  "evaluation.images_during_training": 0,
}


def flags(workdir, data_dir, **fields):
  fields = {**FIELDS, "data.dir": data_dir, **fields}
  return [
    f"--workdir={workdir}",
    *(f"--config.{name}={value}" for name, value in fields.items()),
  ]


def start(workdir, data_dir, fields=(), **env):
  return command_line.start(*flags(workdir, data_dir, **dict(fields)), **env)


def final_state(workdir):
  checkpoints = Checkpoints(workdir / "checkpoints", create=False)
  state = checkpoints.restore(tiny.experiment().state_shapes)
  checkpoints.close()
  return jax.device_get(state)


def steps(workdir):
  """The finished checkpoints."""
  folders = (workdir / "checkpoints").glob("*")
  return [int(path.name) for path in folders if path.name.isdigit()]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, data_dir):
  workdir = tmp_path_factory.mktemp("whole")
  done = command_line.run(*flags(workdir, data_dir))
  assert done.returncode == 0, done.stderr
  return final_state(workdir)


def wait_for(process, condition, what):
  """Until the condition holds; a process that ends before it has failed."""
  deadline = time.monotonic() + 600
  while not condition():
    assert process.poll() is None, process.communicate()
    assert time.monotonic() < deadline, f"no {what}"
    time.sleep(0.001)


def test_killed_and_stopped_a_run_ends_with_the_same_bits(
  uninterrupted, tmp_path, data_dir
):
  """Killed in training and in a write, then stopped by two signals."""

  def writing():
    """A checkpoint is under way."""
    return any((tmp_path / "checkpoints").glob("*.orbax-checkpoint-tmp*"))

  def interrupted(goal, number):
    """A start that gets the signal after so many steps."""
    process = start(tmp_path, data_dir)
    done = max(steps(tmp_path), default=0)
    goal = max(goal, done + 1)
    wait_for(process, lambda: max(steps(tmp_path), default=0) >= goal, "step")
    if number == signal.SIGKILL and done:
      wait_for(process, writing, "write")
    process.send_signal(number)
    printed, errors = process.communicate(timeout=120)
    assert f"resuming at step {done}" in printed or not done
    assert max(steps(tmp_path)) < STEPS
    return process.returncode, printed, errors

  for goal in (3, 5):
    interrupted(goal, signal.SIGKILL)
    # The lock of a dead process is no obstacle.
    assert (tmp_path / ".train.lock").exists()
  for goal, number in ((8, signal.SIGTERM), (12, signal.SIGINT)):
    status, printed, errors = interrupted(goal, number)
    assert status == 128 + number, errors
    assert "and saved; the same command goes on" in printed
    assert "Traceback" not in errors
    stopped = int(printed.split("stopped at step ")[1].split()[0])
    assert stopped == max(steps(tmp_path))
  done = command_line.run(*flags(tmp_path, data_dir))
  assert f"resuming at step {stopped}" in done.stdout, done.stderr
  chex.assert_trees_all_equal(final_state(tmp_path), uninterrupted)
  lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
  logged = [line.split(",")[0] for line in lines if '"loss":' in line]
  assert len(logged) == len(set(logged)) and f'{{"step": {STEPS}' in logged


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(
  uninterrupted, tmp_path, data_dir
):
  with SmallDisk(tmp_path / "disk", 32) as disk:
    workdir = disk.folder / "run"
    process = start(workdir, data_dir)
    wait_for(process, lambda: max(steps(workdir), default=0) >= 3, "checkpoint")
    kept = max(steps(workdir))
    since = time.monotonic()
    while process.poll() is None:
      disk.fill(process.pid)  # Old checkpoints that are deleted free some.
      assert time.monotonic() - since < 60
      time.sleep(0.01)
    _, errors = process.communicate()
    assert process.returncode == 2 and "Traceback" not in errors, errors
    (line,) = [x for x in errors.splitlines() if x.startswith("error: ")]
    assert f"error: {workdir}/" in line and "cannot be written (" in line
    last = max(steps(workdir))
    assert kept <= last < STEPS
    assert not (workdir / ".train.lock").exists()
    disk.free()
    done = command_line.run(*flags(workdir, data_dir))
    assert done.returncode == 0, done.stderr
    assert f"resuming at step {last}" in done.stdout
    left = [path.name for path in (workdir / "checkpoints").iterdir()]
    assert all(name.isdigit() for name in left), left
    chex.assert_trees_all_equal(final_state(workdir), uninterrupted)


def test_one_training_at_a_time_and_samples_beside_it(tmp_path, data_dir):
  process = start(tmp_path, data_dir, {"train.images": 80_000})
  wait_for(process, lambda: steps(tmp_path), "checkpoint")
  second = command_line.run(*flags(tmp_path, data_dir))
  assert second.returncode == 2 and "Traceback" not in second.stderr
  expected = f"error: {tmp_path} is being written by process {process.pid} "
  assert expected in second.stderr
  beside = command_line.run(*flags(tmp_path, data_dir), "--mode=sample")
  assert beside.returncode == 0, beside.stderr
  assert (tmp_path / "samples" / "grid.png").exists()
  process.terminate()
  printed, errors = process.communicate(timeout=120)
  assert process.returncode == 128 + signal.SIGTERM, errors
  assert "and saved; the same command goes on" in printed


def start_two(workdir, data_dir, **fields):
  """A run of two processes with two devices each."""
  fields = {"train.checkpoint_images": 64, **fields}
  commands = [command_line.command(*flags(workdir, data_dir, **fields))] * 2
  return many_processes.start(commands, devices=2)


@pytest.fixture(scope="module")
def uninterrupted_two(tmp_path_factory, data_dir):
  workdir = tmp_path_factory.mktemp("two")
  both = start_two(workdir, data_dir, **{"evaluation.images": 20})
  for status, _, errors in many_processes.results(both):
    assert status == 0, errors
  assert list((workdir / "scores").glob("*.json"))
  return final_state(workdir)


def test_two_processes_are_one_to_rounding(uninterrupted, uninterrupted_two):
  assert int(uninterrupted_two.step) == STEPS
  chex.assert_trees_all_close(
    uninterrupted_two.ema_params, uninterrupted.ema_params, atol=1e-3
  )


def test_sigterm_of_one_process_stops_all_at_the_same_step(
  uninterrupted_two, tmp_path, data_dir
):
  both = start_two(tmp_path, data_dir)
  # Both compile, and agree later.
  wait_for(both[0], (tmp_path / "config.json").exists, "config")
  both[1].send_signal(signal.SIGTERM)
  done = many_processes.results(both)
  for status, _, errors in done:
    assert status == 128 + signal.SIGTERM and "Traceback" not in errors, errors
  stopped = int(done[0][1].split("stopped at step ")[1].split()[0])
  assert steps(tmp_path) == [stopped] and stopped < STEPS
  done = many_processes.results(start_two(tmp_path, data_dir))
  for status, _, errors in done:
    assert status == 0, errors
  assert f"resuming at step {stopped}" in done[0][1]
  chex.assert_trees_all_equal(final_state(tmp_path), uninterrupted_two)
