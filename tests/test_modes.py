"""Every mode through the real command line, in processes of their own."""

import json

import chex
import jax
import numpy as np
import pytest
from PIL import Image

import lowdiff_jax as ld
from lowdiff_jax.schedules import pareto
from lowdiff_jax.train.checkpoint import Checkpoints
from lowdiff_jax.types import UserError
from tests import command_line, tiny
from tests.test_mistakes import mistake

BASELINE = "tests/digits.py:smoke,baseline"


def run(trained, *more):
  done = command_line.run(*trained[1], *more)
  assert done.returncode == 0, done.stderr
  return done.stdout


@pytest.fixture(scope="module")
def baseline(trained):
  """A workdir beside that of `trained`, its flags, and how it was trained."""
  workdir, flags, _ = trained
  single = workdir.with_name(f"{workdir.name}-baseline")
  flags = (f"--workdir={single}", flags[1])
  done = command_line.run(*flags, "--quiet", config=BASELINE)
  assert done.returncode == 0, done.stderr
  return single, flags, done


def test_train_leaves_all_it_promises(trained):
  workdir, _, printed = trained
  assert "label_agreement" in printed and "frechet_distance" in printed
  for pattern in (
    "checkpoints/*",
    "tensorboard/events*",
    "samples/000000.png",
    "samples/grid.png",
    "samples/strip.png",
    "samples/step_*.png",
    "scores/*.json",
  ):
    assert list(workdir.glob(pattern)), pattern
  config = json.loads((workdir / "config.json").read_text())
  assert config["train"]["images"] == 80
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  records = [json.loads(line) for line in lines]
  losses = [r for r in records if "loss/8x8" in r]
  assert [r["step"] for r in losses] == [2, 4, 5, 6, 8, 10]
  assert losses[-1]["images"] == 80 and losses[-1]["images_per_second"] > 0
  watched = records[-1]
  assert sum(name.startswith("validation/") for name in watched) == 10
  assert "score/frechet_distance_of_10_images" in watched


def test_score_file_holds_the_protocol(trained):
  (path,) = (trained[0] / "scores").glob("*_images_100_*.json")
  record = json.loads(path.read_text())
  assert set(record["generated"]) == set(record["held_out"])
  protocol = record["protocol"]
  assert protocol["images"] == 100 and protocol["images_trained_on"] == 80
  assert protocol["checkpoint"].endswith("checkpoints/10")
  low, top = protocol["sampling"]
  assert (low["sampler"], low["steps"], low["nfe"]) == ("dpmpp_2m", 3, 3)
  assert (top["resolution"], top["start"]) == (8, "noise")
  assert top["sigmas"][-1] == 0
  for name in ("parameters", "features", "reference", "versions", "device"):
    assert protocol[name]
  for name in ("checkpoint", "images", "code"):
    assert len(protocol[f"{name}_sha256"]) == 64
  assert protocol["images_per_second_with_features"] > 0


def test_sample_is_a_function_of_seed_and_index(trained):
  workdir, _, _ = trained
  before = np.asarray(Image.open(workdir / "samples" / "000007.png"))
  printed = run(
    trained,
    "--mode=sample",
    "--config.sampling.images=4",
    "--config.sampling.first_index=5",
    "--config.sampling.gif=True",
  )
  assert "4 images of step 10" in printed
  after = np.asarray(Image.open(workdir / "samples" / "000007.png"))
  # Another batch size may round the other way.
  assert np.abs(after.astype(int) - before).max() <= 1
  with Image.open(workdir / "samples" / "denoising.gif") as animation:
    assert animation.n_frames == 5
  strip = Image.open(workdir / "samples" / "strip.png")
  assert strip.height > strip.width
  run(trained, "--mode=sample", "--config.sampling.checkpoint=5")


def test_evaluate(trained):
  printed = run(trained, "--mode=evaluate", "--config.evaluation.images=20")
  (path,) = (trained[0] / "scores").glob("step_00000010_images_20_*.json")
  assert f"20 images, scored in {path}" in printed


def test_quiet_leaves_the_results(baseline):
  done = baseline[2]
  first, empty, scored, *table = done.stdout.splitlines()
  assert first.startswith("10 images of step 10 in ") and empty == ""
  assert scored.startswith("100 images, scored in ")
  assert [line.split()[0] for line in table] == [
    "generated",
    "frechet_distance",
    "label_agreement",
  ]
  assert done.stderr == ""


@pytest.fixture(scope="module")
def exported(trained, baseline):
  """The folder of a model; that of its baseline is beside it."""
  folder = trained[0].with_name("tiny")
  ld.load(trained[0]).export(folder)
  ld.load(baseline[0]).export(folder.with_name("tiny-baseline"))
  return folder


def test_a_model_is_sampled_by_name(trained, exported, tmp_path):
  flags = f"--model={exported}", f"--workdir={tmp_path}", "--mode=sample"
  done = command_line.run(*flags, config=None)
  assert "10 images of step 10" in done.stdout, done.stderr
  ours = np.asarray(Image.open(tmp_path / "samples" / "000003.png"))
  theirs = ld.load(trained[0]).sample(10)[3, ..., 0]
  # On eight devices here: that may round the other way.
  assert np.abs(ours.astype(int) - theirs).max() <= 1
  for flag, said in (
    ("--config.model.channels=16", "config.model.channels = 16, but "),
    ("--mode=train", "set --config.model.init_from"),
    ("--model=tinny", "tinny holds no model: expected the folder of a run"),
  ):
    line = mistake(*flags, flag, config=None)
    assert said in line


def test_benchmark_against_a_baseline_of_the_same_recipe(
  trained, exported, tmp_path
):
  flags = f"--model={exported}", f"--workdir={tmp_path}", trained[1][1]
  images = "--config.evaluation.images=20"
  done = command_line.run(*flags, "--mode=benchmark", images, config=None)
  assert done.returncode == 0, done.stderr
  printed = done.stdout
  assert "cascade is" in printed and "3 steps of heun" in printed
  record = json.loads((tmp_path / "benchmark.json").read_text())
  cascade, heun, own = record["rows"]
  assert cascade["nfe"] == {"4x4": 3, "8x8": 2} and heun["nfe"] == {"8x8": 5}
  assert (
    own["nfe"] == {"8x8": 3} and own["sampling"][0]["sampler"] == "dpmpp_2m"
  )
  for name, nfe in cascade["nfe"].items():
    gflop = 2e-9 * nfe * cascade["macs_of_evaluation"][name]
    np.testing.assert_allclose(cascade["gflop_per_image_by_stage"][name], gflop)
  for row in record["rows"]:
    assert row["images_per_second"] > 0 and row["peak_memory_bytes"] > 0
    assert "frechet_distance" in row["scores"]
    assert row["images_per_second_undecoded"] >= row["images_per_second"]
    used = row["images_per_second_undecoded"] * row["gflop_per_image"] * 1e9
    peak = used / row["model_flops_utilisation"]
    np.testing.assert_allclose(peak, record["peak_flops"])
  (training,) = record["training"]
  # Each of 8 images: forward and twice as much back, at 4x4 and at 8x8.
  gflop = 6e-9 * sum(cascade["macs_of_evaluation"].values())
  np.testing.assert_allclose(training["gflop_per_image"], gflop)
  assert training["images_per_second"] > 0 and "% MFU" in printed
  ratio = cascade["images_per_second"] / heun["images_per_second"]
  np.testing.assert_allclose(heun["cascade_speed_ratio"], ratio)
  # The same network: an evaluation at 8x8 costs what it costs, but for the
  # condition's channels.
  per_evaluation = [
    row["gflop_per_image_by_stage"]["8x8"] / row["nfe"]["8x8"]
    for row in (cascade, heun)
  ]
  np.testing.assert_allclose(*per_evaluation, rtol=0.05)


def test_a_new_run_starts_from_the_ema_weights_of_another(trained):
  workdir, _, _ = trained
  fields = {"model.init_from": str(workdir)}
  experiment = tiny.experiment(**fields)
  state = experiment.init()
  checkpoints = Checkpoints(workdir / "checkpoints", create=False)
  theirs = checkpoints.restore(experiment.state_shapes)
  checkpoints.close()
  chex.assert_trees_all_equal(state.params, theirs.ema_params)
  chex.assert_trees_all_equal(state.ema_params, theirs.ema_params)
  assert int(theirs.step) == 10 and int(state.step) == 0
  moments = jax.tree.leaves(state.opt_state)
  assert not any(np.any(np.asarray(moment)) for moment in moments)
  # The step donates both: they are no views of one another.
  experiment.step(state, jax.random.key(0), tiny.batch())
  unlike = {"model.channels": 16}, {"model.shared": False}
  for other in unlike:
    with pytest.raises(UserError) as error:
      tiny.experiment(**fields, **other).init()
    assert "of another architecture: " in str(error.value)
    assert "with, or another --config.model.init_from" in str(error.value)
    assert "\n" not in str(error.value)


def test_tune_finds_what_can_be_pasted(trained):
  workdir, _, _ = trained
  printed = run(trained, "--mode=tune", "--config.tune.factor=100.0")
  record = json.loads((workdir / "tune.json").read_text())
  assert len(record["trials"]) == (1 + 6) + (1 + 6)
  best = record["schedules"]["best"]
  # Of any quality, the fastest that was tried: fewer steps.
  assert sum(best["nfe"]) < sum(record["schedules"]["config"]["nfe"])
  pasted = [
    f"--config.{name}={value}" for name, value in best["overrides"].items()
  ]
  assert all(name in printed for name in best["overrides"])
  run(trained, "--mode=evaluate", *pasted, "--config.evaluation.images=20")
  newest = max(
    (workdir / "scores").glob("*.json"), key=lambda path: path.stat().st_mtime
  )
  sampling = json.loads(newest.read_text())["protocol"]["sampling"]
  assert [stage["nfe"] for stage in sampling] == best["nfe"]


def test_sweep_draws_the_front_of_quality_and_speed(trained, baseline):
  images = "--config.evaluation.images=20"
  printed = run(trained, "--mode=sweep", images)
  assert "3 dpmpp_2m + 2 dpmpp_2m" in printed
  done = command_line.run(*baseline[1], "--mode=sweep", images, config=BASELINE)
  assert done.returncode == 0, done.stderr
  files = [folder / "sweep.json" for folder in (trained[0], baseline[0])]
  record = json.loads(files[0].read_text())
  assert [row["nfe"] for row in record["rows"]] == [[3, 2], [2, 1]]
  assert all(len(row["distances"]) == 1 for row in record["rows"])
  points = pareto.read(list(map(str, files)))
  assert len(points) == 4 and len({point.curve for point in points}) == 2
  assert all(point.images_per_second > 0 for point in points)
  with Image.open(files[0].with_suffix(".png")) as figure:
    assert figure.width > 500


def test_upscale_takes_the_users_small_images(trained, tmp_path):
  for i in range(3):
    pixels = np.full((4, 4, 3), 80 * i, np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"mine_{i}.png")
  run(trained, "--mode=upscale", f"--config.upscale.input={tmp_path}")
  folder = trained[0] / "upscaled"
  assert Image.open(folder / "mine_1.png").size == (8, 8)
  assert (folder / "strip.png").exists()
  one = tmp_path / "mine_2.png"
  printed = run(trained, "--mode=upscale", f"--config.upscale.input={one}")
  assert "1 images" in printed
