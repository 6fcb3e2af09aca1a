"""Modes that need no trained run: measuring and training on own images."""

import json

import numpy as np
from PIL import Image

from tests import command_line


def test_measure_proposes_what_can_be_pasted(tmp_path, data_dir):
  proposed = {
    "config.stages.s4.sigma_data": 0.72,
    "config.stages.s4.p_mean": -1.2,
    "config.stages.s4.p_std": 1.2,
    "config.stages.s4.sigma_max": 40.0,
    "config.stages.s8.sigma_data": 0.85,
    "config.stages.s8.p_mean": -1.2,
    "config.stages.s8.p_std": 1.2,
    "config.stages.s8.sigma_max": 80.0,
  }
  done = command_line.run(
    "--mode=measure",
    f"--workdir={tmp_path}",
    f"--config.data.dir={data_dir}",
    *(f"--{name}={value}" for name, value in proposed.items()),
  )
  assert done.returncode == 0, done.stderr
  for name, value in proposed.items():
    assert f"--{name}={value}" in done.stdout
  record = json.loads((tmp_path / "measure.json").read_text())
  assert record["images"] == 1438 and record["source"] == "tfds:digits"
  assert record["proposed"] == proposed
  rms = [scale["sigma_data"] for scale in record["measured"]]
  np.testing.assert_allclose(rms, [0.7200, 0.8468], atol=1e-4)
  assert [path.name for path in tmp_path.iterdir()] == ["measure.json"]


def test_own_images_train_with_nothing_but_the_source(tmp_path):
  rng = np.random.default_rng(0)
  for i in range(24):
    name = f"{'cats' if i % 2 else 'dogs'}/{i}.{'jpg' if i % 3 else 'png'}"
    path = tmp_path / "images" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(pixels).save(path)
  (tmp_path / "images" / "cats" / "broken.png").write_bytes(b"?")
  workdir = tmp_path / "run"
  done = command_line.run(
    f"--workdir={workdir}", f"--config.data.source=folder:{tmp_path}/images"
  )
  assert done.returncode == 0, done.stderr
  assert "broken.png" in done.stderr
  image = Image.open(workdir / "samples" / "000000.png")
  assert image.size == (8, 8) and image.mode == "RGB"
  assert "label_agreement" in done.stdout
