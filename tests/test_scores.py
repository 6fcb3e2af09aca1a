"""Mode evaluate through the real command line, interruptions included."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests import command_line
from tests.inception import write_trunk
from tests.test_mistakes import mistake
from tests.test_resume import wait_for


@pytest.fixture(scope="module")
def inception(tmp_path_factory):
  """Flags for random weights and a few real pictures to compare with."""
  root = tmp_path_factory.mktemp("inception")
  return (
    "--mode=evaluate",
    f"--config.evaluation.inception={write_trunk(root / 'a.safetensors')}",
    "--config.evaluation.references=24",
    "--config.evaluation.images=12",
    "--config.evaluation.batch_size=12",
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
  "frechet_distance_768",
  "sfid",
  "kid_768",
  "precision_768",
  "recall_768",
}


def test_ranges_of_seeds_against_a_reference_that_is_made_once(
  trained, inception
):
  workdir, flags, _ = trained
  first = run(*flags, *inception, "--config.evaluation.seed_ranges=2")
  assert "statistics of 24 real pictures" in first.stdout
  assert "of 2 ranges of seeds" in first.stdout and "best_of_2" in first.stdout
  records = scores(workdir, "step_00000010_images_12_????????.json")
  records += scores(workdir, "*_images_12_from_12_????????.json")
  assert [r["protocol"]["indices"] for r in records] == ["0..11", "12..23"]
  a, b = (record["generated"] for record in records)
  assert a.keys() == records[0]["held_out"].keys() == FIGURES
  assert a["frechet_distance_768"] != b["frechet_distance_768"]
  (summary,) = scores(workdir, "*_images_12_*_and_1_more.json")
  for name in FIGURES:
    np.testing.assert_allclose(summary["mean"][name], (a[name] + b[name]) / 2)
  protocol = records[0]["protocol"]
  assert protocol["features"] == "pool768" and protocol["network_sha256"]
  reference = protocol["reference"]
  assert reference["pictures"] == 24 and len(reference["pictures_sha256"]) == 64
  assert not list((workdir / "scores").glob("*.partial"))
  # The same from the file of statistics.
  file = f"--config.evaluation.reference={reference['file']}"
  assert "statistics of" not in run(*flags, *inception, file).stdout
  records = scores(workdir, "step_00000010_images_12_????????.json")
  assert [record["generated"] for record in records] == [a, a]


def test_one_s_own_pictures_need_no_checkpoint(data_dir, inception, tmp_path):
  """Nor statistics anew: the test before has made them."""
  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 256, (14, 8, 8), np.uint8)
  for i, image in enumerate(pixels):
    (tmp_path / "png").mkdir(exist_ok=True)
    Image.fromarray(image).save(tmp_path / "png" / f"{i:02d}.png")
  np.savez(tmp_path / "array.npz", pixels[..., None])
  flags = (f"--config.data.dir={data_dir}", *inception)
  found = []
  for name in ("png", "array.npz"):
    flag = f"--config.evaluation.input={tmp_path}/{name}"
    done = run(f"--workdir={tmp_path}/run", *flags, flag)
    assert "statistics of" not in done.stdout
    (record,) = scores(tmp_path / "run", f"{name.split('.')[0]}_images_14_*")
    found.append(record["generated"])
    assert record["protocol"]["input"] == f"{tmp_path}/{name}"
  assert found[0] == found[1] and found[0].keys() == FIGURES
  rows = subprocess.run(
    [sys.executable, "-m", "lowdiff_jax.evaluate.table", f"{tmp_path}/run"],
    cwd=command_line.REPOSITORY,
    capture_output=True,
    text=True,
  )
  assert rows.returncode == 0 and len(rows.stdout.splitlines()) == 3
  (tmp_path / "png" / "07.png").write_bytes(b"?")
  line = mistake(
    f"--workdir={tmp_path}/run",
    *flags,
    f"--config.evaluation.input={tmp_path}/png",
  )
  assert f"{tmp_path}/png/07.png cannot be read" in line


def test_killed_and_started_again_the_number_is_the_same(trained):
  workdir, flags, _ = trained
  flags = (
    *flags,
    "--mode=evaluate",
    "--config.evaluation.images=3000",
    "--config.sampling.batch_size=250",
  )
  process = subprocess.Popen(
    command_line.command(*flags),
    cwd=command_line.REPOSITORY,
    env=command_line.environment(),
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )

  def kept():
    return list((workdir / "scores").glob("*_images_3000_*.partial/*.npz"))

  wait_for(process, kept, "chunk of features")
  process.send_signal(signal.SIGKILL)
  process.communicate()
  assert not scores(workdir, "*_images_3000_*.json")
  before = {path.name: path.stat().st_mtime_ns for path in kept()}
  assert before
  resumed = run(*flags)
  assert "0/3000" not in resumed.stderr  # It does not begin with the first.
  (record,) = scores(workdir, "*_images_3000_*.json")
  run(*flags)
  (undisturbed,) = scores(workdir, "*_images_3000_*.json")
  assert record["generated"] == undisturbed["generated"]
  name = "pictures_sha256"
  assert record["protocol"][name] == undisturbed["protocol"][name]


def test_without_inception_a_line_says_so(trained):
  _, flags, _ = trained
  done = run(
    *flags,
    "--mode=evaluate",
    "--config.evaluation.inception=auto",
    "--config.evaluation.images=20",
  )
  lines = [line for line in done.stderr.splitlines() if "Inception" in line]
  (line,) = [x for x in done.stderr.splitlines() if "pt_inception" in x]
  assert "scores are no FID" in line and len(lines) <= 1
  assert "frechet_distance " in done.stdout and "fid" not in done.stdout


@pytest.mark.parametrize(
  ("argument", "said"),
  [
    ("inception=/no/where.pth", "evaluation.inception: there is no /no/where"),
    ("reference=/no/where.npz", "evaluation.reference: /no/where.npz cannot"),
    ("input=/no/where", "evaluation.input: /no/where is neither a folder"),
  ],
)
def test_what_is_missing_is_named(argument, said, trained, inception):
  _, flags, _ = trained
  line = mistake(*flags, *inception, f"--config.evaluation.{argument}")
  assert said in line
