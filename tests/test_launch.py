"""The programs of launch/ that no other test runs."""

import argparse
import json
import re
import subprocess
import sys

import chex
import jax
import pytest

from launch import plan_table, scaling_table
from launch.compare import compile_time
from launch.compare import fid as compare_fid
from launch.mutants.__main__ import MUTANTS
from lowdiff_jax.experiment.overrides import override, parse_flags, read_page
from lowdiff_jax.metrics.inception_weights import (
  inception_params,
  load_inception,
)
from tests import command_line
from tests.command_line import REPOSITORY
from tests.inception import published_state, write_trunk


def test_the_comparison_names_what_is_not_the_published_code(tmp_path):
  done = subprocess.run(
    [sys.executable, "-m", "launch.compare.edm", f"--edm={tmp_path}"],
    cwd=REPOSITORY,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 2
  assert f"{tmp_path}: there is no training/networks.py" in done.stderr


def test_the_comparison_of_scores_needs_pictures(tmp_path, monkeypatch, capsys):
  flags = (f"--{name}={tmp_path}/a" for name in ("pictures", "reference"))
  weights = f"--weights={write_trunk(tmp_path / 'trunk.safetensors')}"
  monkeypatch.setattr(sys, "argv", ["compare_fid", weights, *flags])
  with pytest.raises(SystemExit):
    compare_fid.main()
  assert f"--pictures {tmp_path}/a: there is no such" in capsys.readouterr().err


def test_both_sides_of_the_comparison_have_the_same_weights(tmp_path):
  inception = load_inception(write_trunk(tmp_path / "trunk.safetensors"))
  theirs = compare_fid._published(inception)
  shapes = {name: array.shape for name, array in theirs.items()}
  state = published_state(whole=True)
  assert shapes == {name: array.shape for name, array in state.items()}
  again = inception_params(theirs)
  ours = {name: again[name] for name in inception.params}
  chex.assert_trees_all_close(ours, dict(inception.params), rtol=1e-5)


def test_the_step_whose_compilation_is_timed_is_one():
  """It maps a state to a state, and trains both resolutions."""
  args = argparse.Namespace(
    size="B", batch_size=2, remat="dots", dtype="bfloat16"
  )
  step, inputs = compile_time.training_step(args, depth=2)
  state, metrics = jax.eval_shape(step, *inputs)
  chex.assert_trees_all_equal_shapes_and_dtypes(state, inputs[0])
  for side in ("8x8", "16x16"):
    assert {f"loss/{side}", f"cosine/{side}"} <= metrics.keys()


def test_the_table_of_plans_keeps_what_was_planned(tmp_path, monkeypatch):
  """No row is run again; one without a plan is not in the table."""
  row = plan_table.ROWS[0]
  fits = {
    "fits": True,
    "images": 1024,
    "needed_bytes": 6 * 2**30,
    "collective_bytes": {"all-reduce": 2**20, "all-gather": 2**20},
    "compile_cpu_seconds": 60.4,
    "expected_seconds": 0.5,
    "expected_images_per_second": 2048.0,
    "expected_mfu": 0.251,
  }
  plan = {
    "training": {
      "as_given": {"fits": False},
      "overrides": {"model.remat": "full"},
      "with_overrides": fits,
    },
    "sampling": {"as_given": fits},
  }
  folder = tmp_path / row.name()
  folder.mkdir()
  (folder / "plan.json").write_text(json.dumps(plan))
  page = tmp_path / "page.md"
  begin, end = plan_table.MARKS
  page.write_text(f"# Before\n{begin}old{end}\nafter\n")
  arguments = [f"--workdir={tmp_path}", f"--page={page}"]
  arguments.append(f"--rows=^{re.escape(row.name())}$")
  monkeypatch.setattr(sys, "argv", ["plan_table", *arguments])
  for _ in range(2):  # The second replaces the first.
    assert plan_table.main() == 0
    lines = page.read_text().splitlines()
    assert lines[0] == "# Before" and lines[-1] == "after"
    (line,) = [line for line in lines if row.slice in line and "|" in line]
    assert line == (
      "| imagenet256.py model.remat=full | v5e-8 | 1024 | yes | 6.0 GiB | 0.5 "
      "| 2,048.0 | 25.1% | 2.0 MiB | 6.0 GiB | 0.5 | 2,048.0 | 121 |"
    )
    (command,) = [line for line in lines if line.startswith("python")]
    assert command == (
      "python -m lowdiff_jax.main --config=configs/imagenet256.py --mode=plan "
      "--config.plan.slice=v5e-8"
    )


def test_the_table_of_scaling(tmp_path, monkeypatch):
  """By hand: one slice, and eight times its chips for as many images."""
  for row, chips, computing, moving in (
    (scaling_table.ROWS[0], 8, 0.3, 0.1),
    (scaling_table.ROWS[4], 64, 0.04, 0.06),
  ):
    step = {
      "devices": chips,
      "images": 1024,
      "needed_bytes": 2**30,
      "expected_seconds": computing,
      "collective_bytes": {"all-reduce": 2**20},
      "collective_seconds": moving,
    }
    (tmp_path / row.name()).mkdir()
    plan = json.dumps({"training": {"as_given": step}})
    (tmp_path / row.name() / "plan.json").write_text(plan)
  page = tmp_path / "page.md"
  page.write_text("\n".join(scaling_table.MARKS))
  arguments = [f"--workdir={tmp_path}", f"--page={page}", "--rows=^$"]
  monkeypatch.setattr(sys, "argv", ["scaling_table", *arguments])
  assert scaling_table.main() == 0
  rows = [line for line in page.read_text().splitlines() if "v5p" in line][:2]
  assert rows == [
    "| 8 | v5p-16 | 1,024 | 128 | 1.0 GiB | 0.3 | 1.0 MiB | 0.1 "
    "| 2,560 to 3,413 | 100% to 100% |",
    "| 64 | v5p-128 | 1,024 | 16 | 1.0 GiB | 0.04 | 1.0 MiB | 0.06 "
    "| 10,240 to 17,067 | 50% to 62% |",
  ]


def test_every_planned_row_is_a_config():
  rows = [*plan_table.ROWS, *scaling_table.ROWS]
  assert len({row.name() for row in rows}) == len(rows)
  for row in rows:
    page = read_page(f"{REPOSITORY}/{row.page}")
    fields = [f.removeprefix("--config.").split("=") for f in row.fields]
    override(page, {"plan.slice": row.slice, **parse_flags(fields, page)})


def test_the_speed_of_the_input_is_of_every_set(tmp_path):
  sizes = ("--images=64", "--batch-size=12", "--batches=2")
  flags = (*sizes, "--processes=3", f"--folder={tmp_path}")
  done = subprocess.run(
    [sys.executable, "-m", "launch.input_speed", *flags],
    cwd=REPOSITORY,
    env=command_line.environment(devices=8),
    capture_output=True,
    text=True,
    check=True,
  )
  title, heads, *rows = done.stdout.splitlines()
  assert title.startswith("2 batches of 16 on 8 x")
  assert "one of 3 processes" in title
  assert heads.count("us") == 3
  assert [row.split()[0] for row in rows] == ["cifar10", "ffhq64", "latents"]
  for row in rows:
    numbers = [float(number.replace(",", "")) for number in row.split()[1:]]
    assert len(numbers) == 6 and min(numbers) >= 0 and numbers[0] > 0
  assert not list(tmp_path.iterdir())


def test_every_planted_wrong_has_its_place():
  for mutant in MUTANTS:
    text = (REPOSITORY / "lowdiff_jax" / mutant.file).read_text()
    assert text.count(mutant.old) == 1, mutant
    assert mutant.old != mutant.new
