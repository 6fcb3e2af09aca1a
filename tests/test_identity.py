"""A run knows itself: its config rules, and nothing contradicts it."""

import json
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

import lowdiff_jax as ld
from lowdiff_jax.experiment import identity, legacy, run_folder
from lowdiff_jax.experiment.schema import leaves
from lowdiff_jax.train.checkpoint import Checkpoints
from lowdiff_jax.types import UserError
from tests import command_line, tiny
from tests.test_mistakes import mistake


def numbered(workdir):
  paths = sorted((workdir / "samples").glob("0*.png"))
  return {path.name: path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def run_01(tmp_path_factory):
  """A run of version 0.1: `digits.py:smoke` after 10 steps."""
  workdir = tmp_path_factory.mktemp("runs") / "old"
  path = command_line.REPOSITORY / "tests" / "golden" / "run_0.1.zip"
  with zipfile.ZipFile(path) as archive:
    archive.extractall(workdir)
  return workdir


def test_without_a_config_the_images_are_the_same(once, tmp_path):
  before = numbered(once / "run")
  assert len(before) == 10
  workdir = tmp_path / "run"
  shutil.copytree(once / "run", workdir, ignore=lambda *_: {"samples"})
  done = command_line.run(f"--workdir={workdir}", "--mode=sample", config=None)
  assert done.returncode == 0, done.stderr
  assert numbered(workdir) == before


@pytest.mark.parametrize(
  ("mode", "argument", "said"),
  [
    (
      "sample",
      "--config.stages.sigma_data=(0.3,0.3)",
      "config.stages.s4.sigma_data = 0.3, but {run} was trained with 0.72",
    ),
    (
      "evaluate",
      "--config.stages.s8.target=residual",
      "target = 'residual', but {run} was trained with 'image'",
    ),
    (
      "train",
      "--config.data.crop=center",
      "config.data.crop = 'center', but {run} was trained with 'none'",
    ),
    (
      "upscale",
      "--config.cascade=False",
      "False, but {run} was trained with True",
    ),
  ],
)
def test_what_was_trained_is_not_contradicted(mode, argument, said, trained):
  workdir, _, _ = trained
  line = mistake(
    f"--workdir={workdir}", f"--mode={mode}", argument, config=None
  )
  assert said.format(run=workdir) in line and "leave" in line


@pytest.mark.parametrize(
  ("config", "said"),
  [
    ("configs/cifar10.py:smoke", "stages are of (8, 16, 32) pixels, but"),
    ("configs/digits.py", "config.model.channels = 16, but"),
    ("tests/digits.py:smoke,baseline", "config.cascade = False, but"),
  ],
)
def test_a_page_of_another_run_is_refused(config, said, trained):
  workdir, _, _ = trained
  line = mistake(f"--workdir={workdir}", "--mode=sample", config=config)
  assert said in line and "was trained with" in line


def test_progress_is_counted_in_images(trained, tmp_path):
  """More images go on with the count; another batch size is refused."""
  workdir = tmp_path / "run"
  shutil.copytree(trained[0], workdir)
  place = (f"--workdir={workdir}", trained[1][1])
  line = mistake(*place, "--config.stages.s4.batch_size=16", config=None)
  assert "batch_size = 16, but" in line and "trained with 8" in line
  done = command_line.run(
    *place,
    *command_line.UNSCORED,
    "--config.train.images=96",
    config=None,
  )
  assert done.returncode == 0, done.stderr
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  counts = [r["images"] for r in map(json.loads, lines) if "images" in r]
  assert counts[-2:] == [80, 96]
  model = ld.load(workdir)
  assert model.images_seen == 96 and model.config.train.images == 96


def test_a_checkpoint_holds_the_config_and_the_code(once):
  checkpoints = Checkpoints(once / "run" / "checkpoints", create=False)
  meta = checkpoints.meta()
  checkpoints.close()
  own = leaves(identity.from_json(meta["config"]))
  assert own == leaves(run_folder.read_config(once / "run"))
  assert own["data.dir"] == str(once / "tfds")
  assert meta["code"]["version"] == ld.__version__
  assert len(meta["code"]["sha256"]) == 64
  assert meta["images_seen"] == 80


def test_a_run_of_version_01_samples_what_it_sampled(run_01):
  model = ld.load(run_01)
  assert model.images_seen == 80
  images = model.sample(10, seed=0, batch_size=10)
  for i, image in enumerate(images):
    path = run_01 / "samples" / f"{i:06d}.png"
    before = np.asarray(Image.open(path)).astype(int)
    # Another machine may round the other way.
    assert np.abs(image.squeeze(-1) - before).max() <= 1
  with pytest.raises(ValueError, match=r"sigma_data = 0.3, but .* with 0.72"):
    ld.load(run_01, {"stages.s4.sigma_data": 0.3})


def test_a_run_of_version_01_goes_on(run_01, data_dir, tmp_path):
  workdir = tmp_path / "run"
  shutil.copytree(run_01, workdir)
  done = command_line.run(
    f"--workdir={workdir}",
    f"--config.data.dir={data_dir}",
    "--config.train.images=88",
    "--config.evaluation.images=0",
    "--config.evaluation.images_on_the_way=0",
    config=None,
  )
  assert done.returncode == 0, done.stderr
  assert "resuming at step 10" in done.stdout
  assert ld.load(workdir).images_seen == 88


def test_names_of_version_01_are_understood():
  old = json.loads(
    zipfile.ZipFile(
      command_line.REPOSITORY / "tests" / "golden" / "run_0.1.zip"
    ).read("config.json")
  )
  assert leaves(identity.from_json(old)) == leaves(
    tiny.config(name="digits", **{"mesh.fsdp": 1})  # As it was by default.
  )


@pytest.mark.parametrize(
  ("name", "value", "expected"),
  [
    ("sampling.first", 5, {"sampling.first_index": 5}),
    ("model.entry", "whole", {"model.entry": "top_level"}),
    (
      "sampling.steps",
      (3, 2),
      {"stages.s4.steps": 3, "stages.s8.steps": 2},
    ),
    ("stages.direction", (1.0, 0.5), None),
    ("stages.upsample", "nearest", {}),
    ("baseline.order", (), {}),
    ("train.images", 5, {"train.images": 5}),
  ],
)
def test_a_former_field_is_translated(name, value, expected):
  found = dict(legacy.translate(name, value, ["s4", "s8"]))
  if expected is None:
    expected = {f"stages.s{s}.cosine_weight": v for s, v in ((4, 1), (8, 0.5))}
  assert found == expected


@pytest.mark.parametrize(
  ("name", "value", "said"),
  [
    ("stages.consistency", (0.0, 0.75), "removed in version 0.2"),
    ("stages.upsample", "bicubic", "removed in version 0.2"),
    ("baseline.order", (8, 4, 8), "removed in version 0.2"),
    ("sampling.steps", (3,), "expected 2 values"),
    ("sampling.steps", 3, "expected 2 values"),
  ],
)
def test_what_cannot_be_translated_is_named(name, value, said):
  with pytest.raises(UserError, match=f"config.{name} = .*{said}"):
    dict(legacy.translate(name, value, ["s4", "s8"]))


def test_a_damaged_config_file_is_named(run_01, tmp_path):
  (tmp_path / "config.json").write_text("{")
  with pytest.raises(UserError, match=r"config.json cannot be read"):
    identity.read_file(tmp_path / "config.json")
