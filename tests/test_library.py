"""The library: the code of docs/library.md, and what it says of mistakes."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

import lowdiff_jax as ld
from lowdiff_jax.experiment import model_folder
from lowdiff_jax.experiment.parts import build_experiment
from lowdiff_jax.models.weights.edm_layout import published_state
from lowdiff_jax.types import ImageSpec
from tests import command_line, tiny

REPOSITORY = command_line.REPOSITORY
# In place of CIFAR-10's, with images of a folder.
PAGE = f"""
from lowdiff_jax.experiment import overrides

def get_config(arguments=""):
  config = overrides.read_page("{REPOSITORY}/tests/digits.py:smoke")
  config.data.source = "folder:images"
  config.train.images = 24
  return config
"""


def snippets():
  """The Python code of docs/library.md by section."""
  text = (REPOSITORY / "docs" / "library.md").read_text()
  found = {}
  for section in text.split("\n## ")[1:]:
    title, _, body = section.partition("\n")
    found[title] = re.findall(r"```python\n(.*?)```", body, re.DOTALL)
  return found


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
  """A folder with the files that the snippets name, all of them small."""
  root = tmp_path_factory.mktemp("library")
  (root / "runs").mkdir()
  (root / "runs" / "digits").symlink_to(trained[0])
  (root / "configs").mkdir()
  (root / "configs" / "cifar10.py").write_text(PAGE)
  rng = np.random.default_rng(0)
  for i in range(24):
    path = root / "images" / str(i % 10) / f"{i}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(path)
  (root / "weights").mkdir()
  baseline = tiny.config("smoke,baseline")
  published = build_experiment(baseline, ImageSpec(8, 3, 10)).init().params
  name = "edm-cifar10-32x32-cond-vp.safetensors"
  save_file(published_state(published["backbone"]), root / "weights" / name)
  return root


def test_the_snippets_run(folder, monkeypatch):
  monkeypatch.chdir(folder)
  code = snippets()
  assert len(code) == 6 and all(code.values())
  names = {}
  before = dict(ld.SAMPLERS)
  try:
    for title, blocks in code.items():
      for block in blocks:
        exec(compile(block, f"library.md: {title}", "exec"), names)
  finally:
    ld.SAMPLERS.clear()
    ld.SAMPLERS.update(before)
  assert names["images"].shape == (16, 8, 8, 1)
  assert (names["images"].labels == 3).all()
  assert names["larger"].shape == (16, 8, 8, 1)
  assert names["faster"].shape == (16, 8, 8, 1)
  assert names["low"].shape == (4, 16, 16, 3)
  assert names["high"].shape == names["image"].shape == (4, 32, 32, 3)
  # The denoiser of independent pixels of std 1.
  assert abs(float(names["high"].std()) - 1) < 0.1
  assert names["own"].images_seen == 64
  assert names["own"].sample(3).shape == (3, 8, 8, 1)
  assert names["tuned"].images_seen == 24
  assert names["tuned"].sample(2).shape == (2, 8, 8, 3)


def test_sampling_a_checkpoint_is_three_lines():
  first = snippets()["Sample a checkpoint"][0]
  assert len([line for line in first.splitlines() if line]) == 3


def test_a_model_folder_is_the_run(trained, tmp_path):
  run = ld.load(trained[0])
  run.export(tmp_path / "model")
  assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
    "README.md",
    "config.json",
    "model.safetensors",
  ]
  copy = ld.load(tmp_path / "model")
  ours, theirs = run.sample(6, seed=3), copy.sample(6, seed=3)
  np.testing.assert_array_equal(ours, theirs)
  assert copy.images_seen == run.images_seen
  # Published files do not tell the machine's folders.
  with run.config.copy_and_resolve_references().unlocked() as config:
    config.data.dir = trained[1][1].rpartition("/")[2]
  assert copy.config == config
  for path in (tmp_path / "model").iterdir():
    assert str(trained[0].parents[1]).encode() not in path.read_bytes()
  card = (tmp_path / "model" / "README.md").read_text()
  assert card.startswith("---\nlibrary_name: lowdiff_jax\n")
  assert "| images seen in training | 80 |" in card
  (tmp_path / "model" / "config.json").write_text("{}")
  with pytest.raises(ValueError, match=r"config.json cannot be read"):
    ld.load(tmp_path / "model")


def test_a_run_writes_no_secrets(trained):
  """Of the environment; config.json and scores hold what flags gave."""
  assert os.environ["TEST_TOKEN"] == command_line.TOKEN
  files = [path for path in trained[0].rglob("*") if path.is_file()]
  assert {"config.json", "metrics.jsonl"} <= {path.name for path in files}
  for path in files:
    assert command_line.TOKEN.encode() not in path.read_bytes(), path
  assert command_line.TOKEN not in trained[2]


def test_export_is_a_mode(trained):
  done = command_line.run(
    f"--workdir={trained[0]}", "--mode=export", config=None
  )
  assert done.returncode == 0, done.stderr
  assert model_folder.is_model_folder(trained[0] / "model")
  # Neither checkpoints nor data sets are needed to read it.
  code = (
    "import sys, lowdiff_jax as ld\n"
    f"images = ld.load({str(trained[0] / 'model')!r}).sample(2)\n"
    "assert images.shape == (2, 8, 8, 1)\n"
    "known = {name.split('.')[0] for name in sys.modules}\n"
    "assert not known & {'orbax', 'tensorflow_datasets', 'grain'}, known\n"
  )
  done = subprocess.run(
    [sys.executable, "-c", code],
    cwd=REPOSITORY,
    env=command_line.environment(),
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr


def test_importing_starts_nothing():
  code = (
    "import sys, lowdiff_jax\n"
    "assert 'jax' not in sys.modules and 'numpy' not in sys.modules\n"
    "import lowdiff_jax.api\n"
    "from jax._src import xla_bridge\n"
    "assert not xla_bridge._backends\n"
    "assert set(lowdiff_jax._HOMES) <= set(dir(lowdiff_jax))\n"
    "for name in lowdiff_jax.__all__: getattr(lowdiff_jax, name)\n"
  )
  done = subprocess.run(
    [sys.executable, "-c", code],
    cwd=REPOSITORY,
    env={**os.environ, "JAX_PLATFORMS": "cpu"},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr


def test_stages_of_ones_own(trained):
  model = ld.load(trained[0])
  low, high = model.stages
  other = high._replace(sampler=ld.Heun(), sigmas=ld.karras(2, 0.01, 40.0))
  images = model.sample(4, stages=[low, other])
  assert images.stages[0].shape == (4, 4, 4, 1)
  np.testing.assert_array_equal(images.stages[0], model.sample(4).stages[0])
  assert (images != model.sample(4)).any()
  estimate = model.denoiser(
    np.zeros((2, 4, 4, 1), np.float32),
    np.ones(2, np.float32),
    ld.Condition(label=np.zeros(2, np.int32)),
  )
  assert estimate.shape == (2, 4, 4, 1)


def test_seeds_and_indices_reach_their_limits(trained):
  model = ld.load(trained[0])
  images = model.sample(2, seed=2**31, first_index=2**31 - 3)
  numpy = {"seed": np.int64(2**31), "first_index": np.int64(2**31 - 3)}
  np.testing.assert_array_equal(images, model.sample(2, **numpy))
  assert (images != model.sample(2, seed=2**31)).any()
  assert (images != model.sample(2, first_index=2**31 - 3)).any()


def test_mistakes_are_value_errors_that_say_the_way_out(trained, tmp_path):
  model = ld.load(trained[0])
  small = np.zeros((2, 4, 4, 1), np.uint8)
  for call, said in (
    (lambda: ld.load(tmp_path), "holds no model"),
    (lambda: ld.load(trained[0], {"stages.s8.stepz": 3}), "did you mean"),
    (lambda: model.sample(0), "count = 0: expected an integer of at least 1"),
    (lambda: model.sample(2.0), "count = 2.0: expected an integer"),
    (lambda: model.sample(2, seed=1.5), "seed = 1.5: expected an integer"),
    (lambda: model.sample(2, seed=-1), "seed = -1: .* at least 0"),
    (lambda: model.sample(2, seed=2**40), "at most 4,294,967,295"),
    (lambda: model.upscale(small, seed=2**40), "at most 4,294,967,295"),
    (lambda: model.sample(2, first_index=-1), "first_index = -1: expected"),
    (lambda: model.sample(2, first_index=2**31 - 2), "at most 2,147,483,645"),
    (lambda: model.sample(2, batch_size=-8), "batch_size = -8: expected"),
    (lambda: model.sample(2, label=1.5), "10 classes, counted from 0"),
    (lambda: model.sample(2, label=10), "10 classes, counted from 0"),
    (lambda: model.upscale(small.astype(float)), "expected uint8"),
    (lambda: model.upscale(small[:, :3, :3]), r"one of \[4\]"),
    (lambda: model.upscale(small.repeat(3, -1)), "the model 1"),
    (lambda: model.export_edm(tmp_path / "a"), "EDM has no such network"),
    (lambda: ld.config("configs/none.py"), "there is no such file"),
    (lambda: ld.from_arrays(small.astype(float)), "expected uint8"),
    (lambda: ld.from_arrays(small), "expected at least 4"),
    (
      lambda: ld.from_arrays(small.repeat(4, 0), [1, 2]),
      "one class .* of 8 images",
    ),
  ):
    with pytest.raises(ValueError, match=said) as error:
      call()
    assert "\n" not in str(error.value)
  with pytest.raises(AttributeError, match="no attribute 'lod'"):
    _ = ld.lod
