"""Mode evaluate through the real command line, interruptions included."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from lowdiff_jax.cli import evaluate
from lowdiff_jax.experiment.evaluation import make_evaluator
from lowdiff_jax.types import UserError
from tests import command_line, tiny
from tests.inception import write_trunk
from tests.runs import wait_for
from tests.test_mistakes import mistake


@pytest.fixture(scope="module")
def inception(tmp_path_factory):
  """Flags for random weights and a few real images to compare with."""
  root = tmp_path_factory.mktemp("inception")
  return (
    "--mode=evaluate",
    f"--config.evaluation.inception={write_trunk(root / 'a.safetensors')}",
    "--config.evaluation.references=24",
    "--config.evaluation.images=12",
    "--config.evaluation.batch_size=12",
    "--config.evaluation.side=75",
  )


def run(*flags):
  done = command_line.run(*flags)
  assert done.returncode == 0, done.stderr
  return done


def scores(workdir, pattern):
  """The records of the files of that name."""
  files = sorted((workdir / "scores").glob(pattern))
  return [json.loads(path.read_text()) for path in files]


FIGURES = {
  "frechet_distance_768_at_75",
  "kid_768_at_75",
  "precision_768_at_75",
  "recall_768_at_75",
}


def test_ranges_of_seeds_against_a_reference_that_is_made_once(
  trained, inception
):
  workdir, flags, _ = trained
  first = run(*flags, *inception, "--config.evaluation.seed_ranges=2")
  assert "statistics of 24 real images" in first.stdout
  assert "of 2 ranges of seeds" in first.stdout and "best_of_2" in first.stdout
  records = scores(workdir, "step_00000010_images_12_????????.json")
  records += scores(workdir, "*_images_12_from_12_????????.json")
  assert [r["protocol"]["indices"] for r in records] == ["0..11", "12..23"]
  a, b = (record["generated"] for record in records)
  assert a.keys() == records[0]["held_out"].keys() == FIGURES
  assert a["kid_768_at_75"] != b["kid_768_at_75"]
  (summary,) = scores(workdir, "*_images_12_*_and_1_more.json")
  for name in FIGURES:
    np.testing.assert_allclose(summary["mean"][name], (a[name] + b[name]) / 2)
  protocol = records[0]["protocol"]
  assert protocol["features"] == "pool768" and protocol["network_sha256"]
  reference = protocol["reference"]
  assert reference["pictures"] == 24 and len(reference["images_sha256"]) == 64
  assert not list((workdir / "scores").glob("*.partial"))


def test_one_s_own_pictures_need_no_checkpoint(data_dir, inception, tmp_path):
  """Nor statistics anew: the test before has made them."""
  rng = np.random.default_rng(0)
  folder = tmp_path / "mine"
  folder.mkdir()
  for i, image in enumerate(rng.integers(0, 256, (14, 8, 8), np.uint8)):
    Image.fromarray(image).save(folder / f"{i:02d}.png")
  flags = (
    f"--workdir={tmp_path}/run",
    f"--config.data.dir={data_dir}",
    *inception,
    f"--config.evaluation.input={folder}",
  )
  assert "statistics of" not in run(*flags).stdout
  (record,) = scores(tmp_path / "run", "mine_images_14_*")
  assert record["generated"].keys() == FIGURES
  assert record["protocol"]["input"] == str(folder)
  rows = subprocess.run(
    [sys.executable, "-m", "lowdiff_jax.metrics.table", f"{tmp_path}/run"],
    cwd=command_line.REPOSITORY,
    capture_output=True,
    text=True,
  )
  assert rows.returncode == 0 and len(rows.stdout.splitlines()) == 2
  (folder / "07.png").write_bytes(b"?")
  line = mistake(*flags)
  assert f"{folder}/07.png cannot be read" in line


@pytest.mark.parametrize(
  ("count", "said"),
  [(0, "it holds no image"), (1, "holds one image: metrics need at least 2")],
)
def test_one_image_has_no_metrics(count, said, tmp_path):
  images = tiny.batch(32).image
  np.savez(tmp_path / "real.npz", images=images)
  np.savez(tmp_path / "mine.npz", images=images[:count])
  config = tiny.config(
    **{
      "data.source": f"npz:{tmp_path}/real.npz",
      "evaluation.input": f"{tmp_path}/mine.npz",
    }
  )
  said = rf"config\.evaluation\.input: .*{tmp_path}/mine\.npz .*{said}"
  with pytest.raises(UserError, match=said):
    evaluate.run(config, tmp_path)
  assert not (tmp_path / "scores").exists()


def test_killed_and_started_again_the_number_is_the_same(trained):
  """In features of the data set's own, if no Inception is at hand."""
  workdir, flags, _ = trained
  flags = (
    *flags,
    "--mode=evaluate",
    "--config.evaluation.inception=auto",
    "--config.evaluation.images=3000",
    "--config.sampling.batch_size=250",
  )
  process = command_line.start(*flags)

  def kept():
    return list((workdir / "scores").glob("*_images_3000_*.partial/*.npz"))

  wait_for(process, kept, "chunk of features")
  process.send_signal(signal.SIGKILL)
  process.communicate()
  assert kept() and not scores(workdir, "*_images_3000_*.json")
  resumed = run(*flags)
  assert " 0/3000" not in resumed.stderr  # It does not begin with the first.
  (line,) = [x for x in resumed.stderr.splitlines() if "pt_inception" in x]
  assert "scores are no FID" in line and "fid" not in resumed.stdout
  (record,) = scores(workdir, "*_images_3000_*.json")
  run(*flags)
  (undisturbed,) = scores(workdir, "*_images_3000_*.json")
  assert record["generated"] == undisturbed["generated"]
  name = "images_sha256"
  assert record["protocol"][name] == undisturbed["protocol"][name]


@pytest.mark.parametrize(
  ("fields", "said"),
  [
    ({"inception": "/no.pth"}, "evaluation.inception: there is no /no.pth"),
    ({"reference": "/no.npz"}, "evaluation.reference: /no.npz cannot be read"),
  ],
)
def test_what_is_missing_is_named(fields, said, inception):
  weights = inception[1].split("=")[1]
  fields = {"inception": weights, **fields}
  fields = {f"evaluation.{name}": value for name, value in fields.items()}
  with pytest.raises(UserError, match=said):
    make_evaluator(tiny.config(**fields))


def test_published_statistics_need_no_pictures(inception, tmp_path):
  path = tmp_path / "edm.npz"
  np.savez(path, mu=np.zeros(768), sigma=np.eye(768))
  weights = inception[1].split("=")[1]
  fields = {
    "data.source": "folder:/no/where",
    "evaluation.inception": weights,
    "evaluation.reference": str(path),
  }
  evaluator = make_evaluator(tiny.config(**fields))
  assert evaluator.held_out == {} and evaluator.shape is None
  found = evaluator.protocol["reference"]
  assert found["file"] == str(path) and len(found["sha256"]) == 64


def test_latents_without_their_pictures_need_a_reference(inception, tmp_path):
  fields = {
    "data.dir": str(tmp_path),
    "evaluation.inception": inception[1].split("=")[1],
  }
  config = tiny.config("", "imagenet256", **fields)
  with pytest.raises(UserError, match=r"no images .* get ILSVRC2012") as error:
    make_evaluator(config)
  assert "or set --config.evaluation.reference" in str(error.value)
