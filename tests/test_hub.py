"""Models of a hub: pushed by the command, loaded, and refused if damaged."""

import huggingface_hub.constants
import jax
import numpy as np
import pytest

import lowdiff_jax as ld
from lowdiff_jax import hub
from lowdiff_jax.cli import push
from lowdiff_jax.experiment.initial_params import initial_params
from lowdiff_jax.types import UserError
from tests import command_line, tiny
from tests import hub as hub_of_tests


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
  folder = tmp_path_factory.mktemp("hub") / "model"
  ld.load(trained[0]).export(folder)
  (folder / "private.txt").write_text("not of the model")
  return folder


@pytest.fixture
def served(tmp_path, monkeypatch):
  """An empty hub, which this process takes for the hub."""
  with hub_of_tests.served() as found:
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", found.address)
    template = f"{found.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", hub_of_tests.TOKEN)
    yield found


@pytest.fixture
def published(served, exported):
  served.repositories["me/digits"] = {
    name: (exported / name).read_bytes() for name in hub.FILES
  }
  return served


def test_what_the_command_pushes_can_be_loaded(served, exported, tmp_path):
  done = command_line.run(
    "push",
    str(exported),
    "me/digits",
    config=None,
    HF_ENDPOINT=served.address,
    HF_HOME=str(tmp_path),
    HF_HUB_DISABLE_XET="1",  # Its store is no part of this hub.
  )
  assert (done.returncode, done.stderr) == (0, "")
  assert done.stdout.strip() == f"{served.address}/me/digits"
  assert sorted(served.repositories["me/digits"]) == list(hub.FILES)
  assert hub_of_tests.TOKEN not in done.stdout + done.stderr
  model = ld.load("hf://me/digits")
  ours = ld.load(exported).sample(2, seed=1)
  np.testing.assert_array_equal(model.sample(2, seed=1), ours)


def test_nothing_but_the_model_is_fetched(published):
  published.repositories["me/digits"]["evil.py"] = b"raise SystemExit"
  folder = hub.fetch("hf://me/digits@main")
  assert sorted(path.name for path in folder.iterdir()) == list(hub.FILES)
  assert not [line for line in published.requests if "evil" in line]


def test_a_new_run_starts_from_a_hub(published, exported):
  fields = {"model.init_from": "hf://me/digits"}
  fresh = tiny.experiment().init().params
  params = initial_params(tiny.config(**fields), fresh)
  theirs = ld.load(exported).params
  for a, b in zip(*map(jax.tree.leaves, (params, theirs)), strict=True):
    np.testing.assert_array_equal(a, b)
  fields["model.channels"] = 16
  with pytest.raises(UserError, match=r"model.safetensors: .* by this config"):
    initial_params(tiny.config(**fields), tiny.experiment(**fields).init())


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_what_is_damaged_is_refused(published, name):
  path = hub.fetch("hf://me/digits") / name
  content = bytearray(path.read_bytes())
  content[-5] ^= 1
  path.resolve().write_bytes(content)
  with pytest.raises(UserError, match=f"{name} is damaged .*delete it"):
    ld.load("hf://me/digits")


@pytest.mark.parametrize(
  ("address", "said"),
  [
    ("hf://digits", "expected hf://OWNER/NAME"),
    ("hf://me/digits/../x", "expected hf://OWNER/NAME"),
    ("hf://me/nothing", "the hub says 404; check the name"),
    ("hf://me/digits/a.npz", "the repository has no file a.npz"),
  ],
)
def test_mistakes_are_one_line(published, address, said):
  with pytest.raises(UserError, match=said):
    ld.load(address)


def test_what_cannot_be_pushed(served, exported, tmp_path, monkeypatch):
  for words, said in (
    ([str(exported)], "expected: lowdiff push FOLDER OWNER/NAME"),
    ([str(tmp_path), "me/x"], "has no README.md: name a folder"),
    ([str(exported), "x"], "expected hf://OWNER/NAME"),
    ([str(exported), "me/x/y"], "me/x/y: expected OWNER/NAME"),
  ):
    with pytest.raises(UserError, match=said):
      push.run(words)
  monkeypatch.setenv("HF_TOKEN", "another")
  with pytest.raises(UserError, match=r"hub says 401; .* set HF_TOKEN"):
    push.run([str(exported), "me/x"])
  assert not served.repositories


def test_no_hub(served, monkeypatch):
  monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://[::1]:9")
  with pytest.raises(UserError, match=r"hf://me/digits: .*; try again later"):
    ld.load("hf://me/digits")
