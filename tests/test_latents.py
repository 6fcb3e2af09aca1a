"""A latent experiment through the real command line: ImageNet's, made small.

Its run, its data set and its latents are in a bucket.
"""

import io
import json
import signal

import jax
import numpy as np
import pytest
from PIL import Image

from lowdiff_jax import files
from lowdiff_jax.data.datasets.shapes import draw
from lowdiff_jax.experiment.parts import build_experiment
from lowdiff_jax.experiment.sources import open_data
from lowdiff_jax.types import UserError
from tests import command_line, tiny
from tests.runs import wait_for
from tests.test_mistakes import mistake

PAGE = "configs/imagenet256.py:smoke"


@pytest.fixture(scope="module")
def trained(bucket):
  """A workdir after `train`, its folder of latents, and the flags of both."""
  root = files.expanded(f"{bucket}/latents")
  flags = (f"--workdir={root}/run", f"--config.data.dir={root}/data")
  done = command_line.run(*flags, config=PAGE)
  assert done.returncode == 0, done.stderr
  return root / "run", root / "data" / "latents" / "shapes_64_ldm", flags


def opened(path):
  return Image.open(io.BytesIO(path.read_bytes()))


def content(folder):
  return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_one_command_encodes_trains_samples_and_scores(trained):
  workdir, folder, _ = trained
  manifest = json.loads((folder / "latents.json").read_text())
  assert len(manifest["mean"]) == 4 and min(manifest["std"]) > 0
  for shard in manifest["splits"]["train"]["shards"]:
    assert files.sha256(folder / shard["file"]) == shard["sha256"]
  assert manifest["provenance"]["pyramid"] == "pool"
  image = opened(workdir / "samples" / "000000.png")
  assert image.size == (64, 64) and image.mode == "RGB"
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  logged = json.loads(lines[0])
  for name in ("loss/8x8", "loss/16x16", "cosine/8x8", "cosine/16x16"):
    assert logged[name] > 0
  (path,) = (workdir / "scores").glob("*.json")
  score = json.loads(path.read_text())
  assert score["generated"]["frechet_distance"] > 0
  top = score["protocol"]["sampling"][1]
  assert top["guidance"].startswith("classifier-free, 2.5 for sigma in")


def test_killed_encoding_ends_with_the_same_bytes(trained, tmp_path):
  flags = (
    f"--workdir={tmp_path}/run",
    f"--config.data.dir={trained[0].parent}/data",
    f"--config.latents.dir={tmp_path}/latents",
    "--mode=encode",
  )
  process = command_line.start(*flags, config=PAGE)
  written = "train-00000-of-00004.json"
  wait_for(process, (tmp_path / "latents" / written).exists, "shard")
  process.send_signal(signal.SIGKILL)
  process.communicate()
  assert not (tmp_path / "latents" / "latents.json").exists()
  done = command_line.run(*flags, config=PAGE)
  assert done.returncode == 0, done.stderr
  assert content(tmp_path / "latents") == content(trained[1])


def test_a_damaged_shard_is_named_and_encoded_again(trained, tmp_path):
  _, folder, flags = trained
  copy = tmp_path / "latents"
  copy.mkdir()
  for name, data in content(folder).items():
    (copy / name).write_bytes(data)
  shard = copy / "train-00002-of-00004.array_record"
  data = bytearray(shard.read_bytes())
  data[len(data) // 2] ^= 1
  shard.write_bytes(data)
  more = (*flags[1:], f"--config.latents.dir={copy}")
  line = mistake(f"--workdir={tmp_path}/run", *more, config=PAGE)
  assert str(shard) in line and "--mode=encode" in line
  done = command_line.run(*flags, *more, "--mode=encode", config=PAGE)
  assert done.returncode == 0 and "1 of 4 shards to encode" in done.stdout
  assert content(copy) == content(folder)


def test_nothing_to_encode(tmp_path):
  line = mistake(
    f"--workdir={tmp_path}/run",
    f"--config.data.dir={tmp_path}/data",
    config="configs/imagenet256.py",
  )
  assert f"no latents in {tmp_path}/data/latents/imagenet2012_256_ldm" in line
  assert "get ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar" in line
  assert f"put them into {tmp_path}/data/downloads/manual" in line


def make_config(trained, **fields):
  return tiny.config(
    "smoke",
    "imagenet256",
    **{"data.dir": str(trained[0].parent / "data"), **fields},
  )


@pytest.mark.parametrize(
  ("fields", "said"),
  [
    ({"autoencoder.num_blocks": 2}, "of autoencoder = .* the config says"),
    ({"latents.pyramid": "reencode"}, "pyramid = pool, and the config says"),
    ({"resolutions": (16, 32)}, "resolution = 64, and the config says"),
    ({"autoencoder.weights": "/no/where.pt"}, "there is no /no/where.pt"),
  ],
)
def test_latents_that_are_not_the_config_s(fields, said, trained):
  fields = {"latents.dir": str(trained[1]), **fields}
  with pytest.raises(UserError, match=said):
    open_data(make_config(trained, **fields))


def test_decoding_needs_the_same_autoencoder(trained):
  """A checkpoint knows it, where there are no latents to compare with."""
  config = make_config(trained)
  data = open_data(config)
  other = data.latents._replace(provenance={"autoencoder": "0" * 64})
  codec = build_experiment(config, data.train.spec, other).codec
  with pytest.raises(UserError, match=r"sha256 .* expected 0000"):
    codec.decode(np.zeros((1, 16, 16, 4)))


def test_published_statistics_can_be_taken(trained, tmp_path):
  path = tmp_path / "stats.npz"
  mean, std = np.full((1, 4, 1, 1), 0.5), np.full((1, 4, 1, 1), 2.0)
  np.savez(path, mean=mean, std=std)
  config = make_config(trained, **{"latents.statistics": str(path)})
  data = open_data(config)
  batch = data.train.read(np.arange(4))
  expected = (batch.image.astype(np.float32) - 0.5) / 2
  experiment = build_experiment(config, data.train.spec, data.latents)
  normalised = experiment.codec.normalise(batch.image)
  np.testing.assert_allclose(normalised, expected, atol=1e-6)
  # A checkpoint remembers them.
  assert experiment.meta()["latents"]["mean"] == [0.5] * 4
  np.savez(path, mean=mean)
  with pytest.raises(UserError, match="has no mean and std"):
    open_data(config)


def test_training_latents_are_normalised(trained):
  config = make_config(trained)
  data = open_data(config)
  codec = build_experiment(config, data.train.spec, data.latents).codec
  everything = data.train.read(np.arange(len(data.train))).image
  x = codec.normalise(everything)
  np.testing.assert_allclose(x.mean((0, 1, 2)), np.zeros(4), atol=1e-4)
  np.testing.assert_allclose(x.std((0, 1, 2)), np.ones(4), atol=1e-4)


def test_latents_of_reduced_pictures_train(trained, tmp_path):
  """latents.pyramid = reencode: a batch has an image of each resolution."""
  config = make_config(
    trained,
    **{"latents.pyramid": "reencode", "latents.dir": str(tmp_path)},
  )
  data = open_data(config)
  experiment = build_experiment(config, data.train.spec, data.latents)
  low, top = data.train.read(np.arange(8)).image
  assert low.shape == (8, 8, 8, 4) and top.shape == (8, 16, 16, 4)
  _, metrics = experiment.step(
    experiment.init(), jax.random.key(0), data.train.read(np.arange(8))
  )
  assert np.isfinite(metrics["loss"]) and metrics["cosine/8x8"] > 0


def test_upscale_starts_from_pictures(trained, tmp_path):
  workdir, _, flags = trained
  draw(0).resize((32, 32)).save(tmp_path / "small.png")
  done = command_line.run(
    *flags,
    "--mode=upscale",
    f"--config.upscale.input={tmp_path}",
    config=PAGE,
  )
  assert done.returncode == 0, done.stderr
  assert opened(workdir / "upscaled" / "small.png").size == (64, 64)


def test_benchmark_reports_what_remat_saves(trained):
  workdir, _, flags = trained
  done = command_line.run(
    *flags,
    "--mode=benchmark",
    "--config.benchmark.baseline_steps=()",
    "--config.evaluation.images=0",
    config=PAGE,
  )
  assert done.returncode == 0, done.stderr
  assert "shards to encode" not in done.stdout
  assert "with remat=full" in done.stdout and "decoding alone" in done.stdout
  record = json.loads((workdir / "benchmark.json").read_text())
  memory = {row["remat"]: row for row in record["training"]}
  none, dots, full = (
    memory[name]["temporary_memory_bytes"] for name in ("none", "dots", "full")
  )
  assert none > dots > full
  assert record["decoded_images_per_second"] > 0
  assert len(record["rows"]) == 2
