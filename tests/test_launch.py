"""The programs of launch/ that no other test runs."""

import argparse
import subprocess
import sys

import chex
import jax

from launch import compile_time
from tests.command_line import REPOSITORY


def test_the_comparison_names_what_is_not_the_published_code(tmp_path):
  done = subprocess.run(
    [sys.executable, "-m", "launch.compare_edm", f"--edm={tmp_path}"],
    cwd=REPOSITORY,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 2
  assert f"{tmp_path}: there is no training/networks.py" in done.stderr


def test_the_step_whose_compilation_is_timed_is_one():
  """It maps a state to a state, and trains both resolutions."""
  args = argparse.Namespace(
    size="B", batch_size=2, remat="dots", dtype="bfloat16"
  )
  step, inputs = compile_time.training_step(args, depth=2)
  state, metrics = jax.eval_shape(step, *inputs)
  chex.assert_trees_all_equal_shapes_and_dtypes(state, inputs[0])
  for side in ("8x8", "16x16"):
    assert {f"loss/{side}", f"direction/{side}"} <= metrics.keys()
