"""The study: its real command line, and the order and end of its jobs."""

import argparse
import contextlib
import io
import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from launch.study import jobs as study_jobs
from launch.study import page as study_page
from launch.study import run as study
from launch.study import table as study_table
from launch.study.jobs import Done, Jobs
from lowdiff_jax.types import UserError
from tests import command_line
from tests.command_line import REPOSITORY

PAGE = REPOSITORY / "configs" / "study_cifar10.py"
ROWS = REPOSITORY / "launch" / "study" / "cifar10.py"


def run(*arguments):
  """The status of a study, and what it prints."""
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(REPOSITORY)
    patch.setattr(sys, "argv", ["study", *arguments])
    # Its jobs need not import all that they are made of.
    patch.setattr(study_jobs, "_start", start_job)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
      status = study.run()
  return status, printed.getvalue()


def start_job(command, out):
  streams = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": out}
  return command_line.popen(command, command_line.environment(), **streams)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """A study after its end, its command, and what it printed."""
  root = tmp_path_factory.mktemp("study")
  rng = np.random.default_rng(0)
  for i in range(40):
    path = root / "images" / "ab"[i % 2] / f"{i}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(path)
  command = (
    f"--workdir={root / 'run'}",
    "--arguments=smoke",
    "--variants=two",
    "--rows=two,condition_0.1",
    "--images=8",
    "--turns=1",
    "--",
    f"--config.data.source=folder:{root / 'images'}",
    "--config.evaluation.inception=none",
    "--config.evaluation.images=10",
    "--config.model.channel_mult=(1,)",
    "--config.model.entry=top_level",
  )
  status, printed = run("--minutes=30", *command)
  assert status == 0, printed
  return root / "run", command, printed


def jobs_of(printed):
  return re.findall(r"min left: (.*)", printed)


def test_the_table_has_all_that_was_asked_for(finished):
  workdir, _, printed = finished
  assert jobs_of(printed) == [
    "train two to 8 images",
    "score two step 1",
    "score condition_0.1 step 1",
    "time 2 rows",
  ]
  header, _, *rows = (workdir / "study.md").read_text().splitlines()
  columns = (*study_table.COLUMNS, "frechet_distance")
  assert header == f"| {' | '.join(columns)} |"
  cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
  assert [row[:4] for row in cells] == [
    ["two", "two", "8", "3+2"],
    ["condition_0.1", "two", "8", "3+2"],
  ]
  for *_, speed, distance in cells:
    assert float(speed) > 0 and "±" in distance
  assert "\n".join(rows) in printed
  record = json.loads((workdir / "study.json").read_text())
  assert record["distance"] == "frechet_distance"
  assert [row["row"] for row in record["rows"]] == ["two", "condition_0.1"]
  Image.open(workdir / "study.png").verify()
  # What is scored in a row of its own is not scored in training.
  assert len(list((workdir / "two" / "scores").glob("*_more.json"))) == 2


@pytest.mark.parametrize("minutes", [30, 0])
def test_what_is_done_is_not_done_again(finished, minutes):
  workdir, command, printed = finished
  (workdir / "study.md").unlink()
  status, again = run(f"--minutes={minutes}", *command)
  assert status == 0 and jobs_of(again) == []
  assert again in printed and (workdir / "study.md").read_text() == again


def test_without_time_nothing_is_begun(finished, tmp_path):
  command = ("--minutes=0", f"--workdir={tmp_path}", *finished[1][1:])
  status, printed = run(*command)
  assert status == 0
  assert printed.startswith(f"nothing is scored yet in {tmp_path}")
  assert list(tmp_path.iterdir()) == []


def test_a_mistake_is_one_line():
  done = subprocess.run(
    [sys.executable, "-m", "launch.study", "--minutes=1", "--variants=two,tow"],
    cwd=REPOSITORY,
    env=command_line.environment(),
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 2 and done.stdout == ""
  (line,) = done.stderr.splitlines()
  assert line.startswith("error: --variants: there is no 'tow' among two, base")


@pytest.mark.parametrize(
  ("asked", "said"),
  [
    ({"rows": ["noise"], "variants": ["three"]}, "--rows: there is no 'noise'"),
    ({"arguments": ["smok"]}, "unknown argument 'smok'"),
    ({"passed": ["--config.train.imags=3"]}, "imags"),
    ({"passed": ["--config.train.images=-3"]}, "config.train.images = -3"),
    ({"passed": ["--mode=train"]}, "mode"),
    ({"passed": ["train"]}, "expected --config.FIELD=VALUE, not train"),
    ({"page": PAGE.with_name("digits.py")}, "it has no VARIANTS"),
    ({"page": PAGE.with_name("none.py")}, "none.py: there is no such file"),
    ({"rows_of_page": PAGE}, "it has no ROWS"),
  ],
)
def test_what_cannot_run_is_known_before(asked, said):
  with pytest.raises(UserError, match=re.escape(said)):
    study_page.open_study(**{"page": PAGE, "rows_of_page": ROWS, **asked})


def test_every_row_of_the_page_can_run():
  opened = study_page.open_study(PAGE, ROWS)
  names = [row.name for row in opened.rows]
  assert len(names) == len(set(names)) and opened.rows == opened.page_rows
  assert set(opened.variants) <= set(names)
  flags = {row.name: row.flags for row in opened.rows}
  noise = study_page.open_config(flags["noise"])
  assert noise.stages.s32.start == "noise"
  assert study_page.open_config(flags["dpmpp_5"]).baseline.steps == 5


class Rehearsal:
  """Jobs that are but noted; training leaves a checkpoint's folder."""

  def __init__(self, count=100, failing=()):
    self.count, self.failing, self.names = count, failing, []

  def run(self, name, command, spare, about=""):
    if len(self.names) == self.count:
      return None
    self.names.append(f"{name} {about}")
    if name in self.failing:
      return Done(False, None)
    flags = dict(c[2:].split("=", 1) for c in command if "=" in c)
    step = -(-int(flags["config.train.images"]) // 32)
    folder = f"{flags['workdir']}/checkpoints/{step}"
    subprocess.run(["mkdir", "-p", folder], check=True)
    return Done(True, None)


def rehearse(workdir, **kwargs):
  opened = study_page.open_study(
    PAGE, ROWS, variants=["two", "three", "baseline"]
  )
  jobs = Rehearsal(**kwargs)
  args = argparse.Namespace(workdir=workdir, images=640, turns=2)
  study.train_variants(args, opened, jobs, 0)
  return jobs.names


def test_variants_train_in_turns_and_go_on_where_they_were(tmp_path):
  halves = [f"train {v} to 320 images" for v in ("two", "baseline", "three")]
  wholes = [name.replace("320", "640") for name in halves]
  assert rehearse(tmp_path, count=2) == halves[:2]
  assert rehearse(tmp_path, count=2) == [halves[2], wholes[0]]
  assert rehearse(tmp_path) == wholes[1:]
  assert rehearse(tmp_path) == []


def test_what_failed_does_not_hold_up_the_others(tmp_path):
  names = rehearse(tmp_path, failing=["train baseline"])
  assert [name.split()[1] for name in names] == [
    *("two", "baseline", "three"),
    *("two", "three"),
  ]


def test_a_failed_job_is_named_with_its_log(tmp_path, capsys):
  jobs = Jobs(tmp_path, minutes=1)
  done = jobs.run("train x", ["-c", "print('hm'); raise SystemExit(3)"], 0)
  assert not done.well and done.log.read_text() == "hm\n"
  said = capsys.readouterr().out.splitlines()[-1]
  assert said.endswith(f"train x: failed with exit status 3, see {done.log}")
  assert jobs.run("train y", ["-c", ""], 0).well
  assert jobs.failed == ["train x"]


def test_a_job_is_asked_to_stop_when_its_time_is_up(tmp_path, capsys):
  jobs = Jobs(tmp_path, minutes=1)
  program = (
    "import signal, sys, time\n"
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('saved')))\n"
    "time.sleep(50)"
  )
  since = time.monotonic()
  done = jobs.run("train x", ["-c", program], jobs.left() - 5)
  assert time.monotonic() - since < 30
  assert not done.well and done.log.read_text() == "saved\n"
  assert jobs.failed == [] and "its time is up" in capsys.readouterr().out
  assert jobs.run("train y", ["-c", ""], 60) is None
