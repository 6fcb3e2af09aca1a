"""Every mistake of the user's: one line that says the way out, status 2."""

import shutil

import numpy as np
import pytest
from PIL import Image

from tests import command_line


def mistake(*arguments, **kwargs):
  """The one line of an error."""
  done = command_line.run(*arguments, **kwargs)
  assert done.returncode == 2, (done.returncode, done.stderr)
  assert "Traceback" not in done.stderr
  lines = [ln for ln in done.stderr.splitlines() if ln.startswith("error: ")]
  assert len(lines) == 1, done.stderr
  return lines[0]


@pytest.mark.parametrize(
  ("argument", "said"),
  [
    ("--config.train.imags=3", "train.imags: no such field; did you mean"),
    ("--config.train.images=many", "train.images = 'many': expected a number"),
    (
      "--config.sampling.steps=(3,)",
      "sampling.steps = (3,): expected 2 values",
    ),
    (
      "--config.autoencoder.kind=ldm",
      "autoencoder.kind: no such field but with data.space = 'latents'",
    ),
    ("--config.data.crop=left", "crop = 'left': expected one of none, center"),
    ("--config.evaluation.images=1", "an integer of at least 2, or 0"),
    (
      "--config.baseline.order=(8, 4, 8)",
      "baseline.order = (8, 4, 8): removed in version 0.2",
    ),
    ("--mode=trian", "--mode=trian: expected one of train, sample"),
    ("--workdri=a", "workdri"),
    ("train", "unexpected argument 'train'"),
    ("--config.data.source=folder:/no/where", "there is no folder /no/where"),
    ("--config.data.source=tfds:digit", "TFDS knows no set of that name"),
    ("--config.data.source=tfds:ffhq64", "has to be fetched by hand"),
    ("--config.mesh.fsdp=3", "is not the number of devices, 1"),
    ("--mode=upscale", "set --config.upscale.input=PATH"),
  ],
)
def test_wrong_argument(argument, said, tmp_path, data_dir):
  line = mistake(
    f"--workdir={tmp_path}/run", f"--config.data.dir={data_dir}", argument
  )
  assert said in line
  assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize(
  ("config", "said"),
  [
    ("configs/digit.py", "there is no such file"),
    ("configs/digits.py:smok", "unknown argument 'smok'"),
  ],
)
def test_wrong_config(config, said):
  assert said in mistake(config=config)


def test_workdir_that_cannot_be_written(tmp_path):
  (tmp_path / "file").touch()
  line = mistake(f"--workdir={tmp_path}/file/run")
  assert "cannot write there (Not a directory); choose another" in line


@pytest.mark.parametrize("mode", ["sample", "evaluate", "upscale"])
def test_no_checkpoint(mode, tmp_path):
  line = mistake(
    f"--workdir={tmp_path}", f"--mode={mode}", "--config.upscale.input=a.png"
  )
  assert "no checkpoint in" in line and "train first, or set --workdir" in line


def test_a_run_of_another_network(trained):
  _, flags, _ = trained
  wider = "--config.model.channels=16"
  for mode in ("train", "sample"):
    line = mistake(*flags, f"--mode={mode}", wider)
    assert "config.model.channels = 16, but " in line
    assert "was trained with 8" in line
  # Nothing is lost.
  assert command_line.run(*flags, "--mode=sample").returncode == 0


@pytest.mark.parametrize(
  ("place", "said"),
  [
    ("", "train first, or set --config.model.init_from"),
    ("gone", "name the folder of a run or a file of published weights"),
    ("a.npz", "set config.model.shared to True, or take a run's folder"),
  ],
)
def test_nothing_to_start_from(place, said, tmp_path, data_dir):
  (tmp_path / "a.npz").touch()
  line = mistake(
    f"--workdir={tmp_path}/run",
    f"--config.data.dir={data_dir}",
    "--config.model.shared=False",
    f"--config.model.init_from={tmp_path}/{place}",
  )
  assert "config.model.init_from" in line and said in line


def test_damaged_checkpoint(trained, tmp_path):
  workdir, flags, _ = trained
  copy = tmp_path / "run"
  shutil.copytree(workdir, copy)
  newest = copy / "checkpoints" / "10"
  files = [path for path in newest.rglob("*") if path.is_file()]
  largest = max(files, key=lambda path: path.stat().st_size)
  data = largest.read_bytes()
  largest.write_bytes(data[:100] + b"x" + data[101:])
  line = mistake(
    f"--workdir={copy}", "--mode=sample", "--config.sampling.checkpoint=10"
  )
  assert f"{largest} is damaged; there are 5, 10" in line
  # Training goes on by itself.
  done = command_line.run(f"--workdir={copy}", flags[1], *command_line.UNSCORED)
  assert done.returncode == 0 and "resuming at step 5" in done.stdout
  expected = f"{largest} is damaged: the checkpoint of step 5 is used instead"
  assert [line for line in done.stderr.splitlines() if "WARN" in line] == [
    f"WARNING: {expected}",
    f"WARNING: the damaged checkpoint is now {newest}.damaged: delete it",
  ]
  assert newest.is_dir()


def test_out_of_memory(trained):
  line = mistake(
    *trained[1],
    "--mode=sample",
    "--config.sampling.images=400000",
    "--config.sampling.batch_size=400000",
    memory=str(8 * 2**20),
  )
  assert "out of memory (" in line and "GiB needed" in line
  assert "lower config.sampling.batch_size = 400000" in line


def save(path, side):
  Image.fromarray(np.zeros((side, side), np.uint8)).save(path)


@pytest.mark.parametrize(
  ("sides", "said"),
  [
    ((), "no image in"),
    ((8, 10), "1.png is 10x10 but"),
    ((6, 6), "0.png is 6x6, smaller than the model's 8x8"),
  ],
)
def test_wrong_images(sides, said, tmp_path):
  for i, side in enumerate(sides):
    save(tmp_path / f"{i}.png", side)
  line = mistake(
    f"--workdir={tmp_path}/run", f"--config.data.source=folder:{tmp_path}"
  )
  assert said in line


def test_wrong_images_to_upscale(trained, tmp_path):
  flags = (*trained[1], "--mode=upscale")
  save(tmp_path / "five.png", 5)
  (tmp_path / "broken.png").write_bytes(b"?")
  save(tmp_path / "strip.png", 4)
  for name, said in (
    ("strip.png", "rename strip: upscaled/strip.png shows each stage"),
    ("five.png", "five.png is 5x5: this model upscales 4x4"),
    ("broken.png", "no readable image in"),
    ("gone.png", "there is no"),
  ):
    line = mistake(*flags, f"--config.upscale.input={tmp_path}/{name}")
    assert said in line


def test_loss_that_is_not_finite(tmp_path, data_dir):
  line = mistake(
    f"--workdir={tmp_path}",
    f"--config.data.dir={data_dir}",
    "--config.optimizer.learning_rate=1e30",
    "--config.optimizer.clip_norm=1e30",
    "--config.train.checkpoint_images=8",
    *command_line.UNSCORED,
  )
  assert "the loss is not finite at step" in line and "is kept" in line
  kept = [int(path.name) for path in (tmp_path / "checkpoints").iterdir()]
  step = int(line.split("at step ")[1].split(" ")[0])
  assert kept and max(kept) < step
