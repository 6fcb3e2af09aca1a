"""Runs of a few steps that tests interrupt and compare."""

import time

import jax

from lowdiff_jax.train.checkpoint import Checkpoints
from tests import command_line, many_processes, tiny

STEPS = 14
FIELDS = {
  "train.images": 8 * STEPS,
  "train.log_images": 16,
  "train.evaluate_images": 8 * STEPS,
  "train.checkpoint_images": 8,
  "evaluation.images": 0,
  "evaluation.images_during_training": 0,
}
# For runs that nothing interrupts.
ONE_CHECKPOINT = {"train.checkpoint_images": 8 * STEPS}
# For runs of two processes: one checkpoint on the way, and scores.
HALVES = {
  "train.checkpoint_images": 4 * STEPS,
  "train.evaluate_images": 4 * STEPS,
  "evaluation.images": 20,
}


def flags(workdir, data_dir, **fields):
  fields = {**FIELDS, "data.dir": data_dir, **fields}
  return [
    f"--workdir={workdir}",
    *(f"--config.{name}={value}" for name, value in fields.items()),
  ]


def start(workdir, data_dir, **fields):
  return command_line.start(*flags(workdir, data_dir, **fields))


def start_two(workdir, data_dir, *more, **fields):
  """A run of two processes with two devices each."""
  words = *flags(workdir, data_dir, **fields), *more
  return many_processes.start([command_line.command(*words)] * 2, devices=2)


def steps(workdir):
  """The finished checkpoints on a disk."""
  folders = (workdir / "checkpoints").glob("*")
  return [int(path.name) for path in folders if path.name.isdigit()]


def final_state(workdir):
  checkpoints = Checkpoints(workdir / "checkpoints", create=False)
  state = checkpoints.restore(tiny.experiment().state_shapes)
  checkpoints.close()
  return jax.device_get(state)


def wait_for(process, condition, what):
  """Until the condition holds; a process that ends before it has failed."""
  deadline = time.monotonic() + 600
  while not condition():
    assert process.poll() is None, process.communicate()
    assert time.monotonic() < deadline, f"no {what}"
    time.sleep(0.003)
