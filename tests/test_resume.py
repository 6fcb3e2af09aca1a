"""Interrupted runs end where uninterrupted ones do, bit for bit."""

import signal
import time

import chex
import pytest

from launch.drill.disk import SmallDisk
from tests import command_line, runs


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, data_dir):
  workdir = tmp_path_factory.mktemp("whole")
  done = command_line.run(*runs.flags(workdir, data_dir, **runs.ONE_CHECKPOINT))
  assert done.returncode == 0, done.stderr
  return runs.final_state(workdir)


def interrupted(workdir, data_dir, goal, interrupt):
  """A start that is interrupted after so many steps: status and output."""
  process = runs.start(workdir, data_dir)
  done = max(runs.steps(workdir), default=0)
  goal = max(goal, done + 1)
  runs.wait_for(
    process, lambda: max(runs.steps(workdir), default=0) >= goal, "step"
  )
  interrupt(process)
  printed, errors = process.communicate(timeout=120)
  assert f"resuming at step {done}" in printed or not done
  assert goal <= max(runs.steps(workdir)) < runs.STEPS
  return process.returncode, printed, errors


def test_an_interrupted_run_ends_with_the_same_bits(
  uninterrupted, tmp_path, data_dir
):
  """Killed in a write, out of disk space, looked at by others, and stopped."""
  with SmallDisk(tmp_path / "disk", 32) as disk:
    workdir = disk.folder / "run"
    run = workdir, data_dir

    def kill(process):
      """While a checkpoint is under way."""
      unfinished = "checkpoints/*.orbax-checkpoint-tmp*"
      runs.wait_for(process, lambda: any(workdir.glob(unfinished)), "write")
      process.kill()

    assert interrupted(*run, 2, kill)[0] == -signal.SIGKILL
    # The lock of a dead process is no obstacle.
    assert (workdir / ".train.lock").exists()

    def fill(process):
      since = time.monotonic()
      while process.poll() is None:
        disk.fill(process.pid)  # Old checkpoints that are deleted free some.
        assert time.monotonic() - since < 60
        time.sleep(0.01)

    status, _, errors = interrupted(*run, 5, fill)
    assert status == 2 and "Traceback" not in errors, errors
    (line,) = [x for x in errors.splitlines() if x.startswith("error: ")]
    assert f"error: {workdir}/" in line and "cannot be written (" in line
    assert not (workdir / ".train.lock").exists()
    disk.free()

    def look_and_stop(process):
      process.send_signal(signal.SIGSTOP)  # It need not train meanwhile.
      second = command_line.run(*runs.flags(*run))
      assert second.returncode == 2 and "Traceback" not in second.stderr
      expected = f"error: {workdir} is being written by process {process.pid} "
      assert expected in second.stderr
      beside = command_line.run(*runs.flags(*run), "--mode=sample")
      assert beside.returncode == 0, beside.stderr
      assert (workdir / "samples" / "grid.png").exists()
      process.send_signal(signal.SIGINT)
      process.send_signal(signal.SIGCONT)

    status, printed, errors = interrupted(*run, 8, look_and_stop)
    assert status == 128 + signal.SIGINT, errors
    assert "and saved; the same command goes on" in printed
    assert "Traceback" not in errors
    stopped = int(printed.split("stopped at step ")[1].split()[0])
    assert stopped == max(runs.steps(workdir))

    done = command_line.run(*runs.flags(*run))
    assert f"resuming at step {stopped}" in done.stdout, done.stderr
    left = [path.name for path in (workdir / "checkpoints").iterdir()]
    assert all(name.isdigit() for name in left), left
    chex.assert_trees_all_equal(runs.final_state(workdir), uninterrupted)
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
  logged = [line.split(",")[0] for line in lines if '"loss":' in line]
  assert len(logged) == len(set(logged)) and f'{{"step": {runs.STEPS}' in logged


def test_two_processes_are_one_to_rounding(uninterrupted, two):
  state = runs.final_state(two)
  assert int(state.step) == runs.STEPS
  chex.assert_trees_all_close(
    state.ema_params, uninterrupted.ema_params, atol=1e-3
  )
