"""Paths that a user gives: what cannot be one is refused by its name."""

import os
from pathlib import Path

import pytest

import lowdiff_jax as ld
from lowdiff_jax import files
from lowdiff_jax.experiment import codecs, evaluation, latent_sets
from lowdiff_jax.experiment.image_sets import open_splits
from lowdiff_jax.experiment.initial_params import initial_params
from lowdiff_jax.types import UserError
from tests import command_line, tiny

NOBODY = "~nosuchuser/x"
NOT_UTF8 = os.fsdecode(b"/tmp/\xff/run")


def test_the_home_folder_stands_for_a_tilde(monkeypatch):
  monkeypatch.setenv("HOME", "/somewhere")
  assert files.expanded("~/run") == Path("/somewhere/run")
  assert files.expanded("a/~b") == Path("a/~b")


@pytest.mark.parametrize(
  ("path", "said"),
  [
    (NOBODY, "~nosuchuser/x: there is no home folder ~nosuchuser; write"),
    (NOT_UTF8, r"/tmp/\udcff/run: its name, or that of a folder above, is no"),
  ],
)
def test_what_is_no_path_is_refused(path, said):
  model = object.__new__(ld.Model)
  for call in (
    lambda: files.expanded(path),
    lambda: ld.load(path),
    lambda: ld.fit(tiny.config(), path),
    lambda: model.export(path),
  ):
    with pytest.raises(UserError) as error:
      call()
    assert str(error.value).startswith(said)


def test_a_folder_in_one_that_is_no_utf8(tmp_path, monkeypatch):
  folder = tmp_path / os.fsdecode(b"\xff")
  folder.mkdir()
  monkeypatch.chdir(folder)
  with pytest.raises(UserError, match="run: its name, or that of a folder"):
    files.expanded("run")


@pytest.mark.parametrize(
  ("field", "use"),
  [
    ("model.init_from", lambda config: initial_params(config, {})),
    ("latents.dir", latent_sets.latents_folder),
    ("latents.statistics", lambda c: latent_sets.read_statistics(c, 32)),
    ("autoencoder.weights", codecs.load_autoencoder),
    ("evaluation.inception", evaluation.make_evaluator),
    ("data.dir", lambda config: open_splits(config, 8)),
  ],
)
def test_the_field_is_named(field, use):
  config = tiny.config(name="imagenet256", **{field: NOBODY})
  with pytest.raises(UserError, match=rf"config\.{field}: ~nosuchuser/x: "):
    use(config)


def test_the_program_refuses_a_workdir_at_once():
  for path, said in ((NOBODY, "no home folder"), (NOT_UTF8, "no UTF-8")):
    done = command_line.run(f"--workdir={path}")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --workdir: ")
    assert said in done.stderr and done.stderr.count("\n") == 1
