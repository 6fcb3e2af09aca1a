"""The package as others install it: its wheel, and the command `lowdiff`."""

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from lowdiff_jax.cli import NAMES
from lowdiff_jax.experiment import identity, pages
from tests import command_line, wheels
from tests.command_line import REPOSITORY


def output(command, folder):
  """What a program prints, started in a folder without the repository."""
  env = wheels.environment()
  done = subprocess.run(
    command, cwd=folder, env=env, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  return done.stdout


def test_the_installed_command_has_its_pages(installed, tmp_path):
  command = [installed / "lowdiff", "--config=digits:smoke", "--mode=config"]
  assert "data.source = 'tfds:digits'" in output(command, tmp_path)
  assert not list(tmp_path.iterdir())


def test_a_model_comes_with_the_package(installed, tmp_path):
  """And the hash of the code is that of the repository."""
  code = (
    "import lowdiff_jax as ld\n"
    "from lowdiff_jax.experiment.identity import code_version\n"
    "print(ld.load('digits').sample(2).shape)\n"
    "print(ld.__file__)\n"
    "print(code_version()['sha256'])"
  )
  printed = output([installed / "python", "-c", code], tmp_path)
  # On a busy machine it says before what takes long.
  *_, shape, file, version = printed.splitlines()
  assert shape == "(2, 8, 8, 1)"
  assert Path(file).is_relative_to(installed.parent)
  assert version == identity.code_version()["sha256"]


def test_every_requirement_file_is_an_extra():
  listed = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
  extras = listed["tool"]["setuptools"]["dynamic"]["optional-dependencies"]
  everything = extras.pop("dev")["file"]
  files = {path.name for path in REPOSITORY.glob("requirements-*.txt")}
  assert set(everything) == files
  assert {each["file"] for each in extras.values()} == files - {
    "requirements-dev.txt"
  }


def test_help_names_every_mode_page_and_flag():
  printed = command_line.run("--help", config=None).stdout
  flags = [f"--{name}" for name in ("config", "workdir", "heartbeat", "quiet")]
  for name in (*NAMES, *pages.names(), *flags):
    assert f"\n  {name} " in printed
  assert max(map(len, printed.splitlines())) <= 80


@pytest.fixture(scope="module")
def completions():
  return command_line.run("completions", config=None).stdout


@pytest.mark.parametrize(
  ("typed", "completed"),
  [
    ("--mode=ex", ["export"]),
    ("--config=dig", ["digits"]),
    ("--config.sampling.im", ["--config.sampling.images="]),
    ("--config.stages.s16.guid", ["--config.stages.s16.guidance_scale="]),
  ],
)
def test_bash_completes_words(typed, completed, completions):
  line = f"lowdiff --quiet {typed}"
  code = (
    f"{completions}\nCOMP_LINE='{line}'; COMP_POINT={len(line)}; _lowdiff; "
    'printf "%s\\n" "${COMPREPLY[@]}"'
  )
  done = subprocess.run(
    [shutil.which("bash"), "-c", code], capture_output=True, text=True
  )
  assert (done.stdout.split(), done.stderr) == (completed, "")
