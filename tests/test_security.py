"""What data may not do: run code, name paths, or learn the machine's secrets.

Hostile pickles, weights, archives and configs are in test_reading.py,
models/weights/, data/test_zip.py and, among random ones, in launch/fuzz.
"""

import ast
import os
import stat
import zipfile
from pathlib import Path

import pytest

from lowdiff_jax.data.datasets.folder import read_small_images
from lowdiff_jax.experiment.model_card import without_folders
from lowdiff_jax.experiment.rules import literal
from tests.command_line import REPOSITORY
from tests.data.image_folders import everything, open_set, pack, write

PACKAGE = REPOSITORY / "lowdiff_jax"
# Modules that run what they read, and who reads with an allow list.
UNSAFE = {
  "cloudpickle": (),
  "dill": (),
  "joblib": (),
  "marshal": (),
  "pickle": ("models/weights/pickle_scan.py", "models/weights/pickled.py"),
  "shelve": (),
  "torch": (),
  "yaml": (),
}
# Functions that run a text or a program, or unpack an archive.
BUILTINS = {"__import__", "compile", "eval", "exec"}
METHODS = {"extractall", "popen", "run_path", "system", "unpack_archive"}
# Pages of configs are programs.
PAGES = "experiment/overrides.py"


def imported(node):
  """Packages that an import names."""
  if isinstance(node, ast.Import):
    return {name.name.split(".")[0] for name in node.names}
  if isinstance(node, ast.ImportFrom):
    return {node.module.split(".")[0]}
  return set()


def runs(node):
  """Whether a call runs a text or a program, unpacks or unpickles."""
  if isinstance(node.func, ast.Name) and node.func.id in BUILTINS:
    return True
  if isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
    return True
  values = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
  return any(values.get(k, False) for k in ("allow_pickle", "shell"))


def test_nothing_that_is_read_is_run():
  for path in PACKAGE.rglob("*.py"):
    file = path.relative_to(PACKAGE).as_posix()
    for node in ast.walk(ast.parse(path.read_text())):
      for name in imported(node) & UNSAFE.keys():
        assert file in UNSAFE[name], name
      if isinstance(node, ast.Call) and runs(node):
        assert file == PAGES, f"{file}:{node.lineno}"


@pytest.mark.parametrize(
  "code",
  [
    "eval(text)",
    "os.system(text)",
    "np.load(file, allow_pickle=True)",
    "subprocess.run(text, shell=True)",
    "archive.extractall(folder)",
  ],
)
def test_what_would_run_is_found(code):
  assert runs(ast.parse(code).body[0].value)


@pytest.mark.parametrize(
  "text",
  [
    "__import__('os').system('touch {}')",
    "open('{}', 'w')",
    "[open('{}', 'w') for _ in (1,)]",
    'f\'{{open("{}", "w")}}\'',
  ],
)
def test_a_flag_is_a_literal(text, tmp_path):
  text = text.format(tmp_path / "made")
  assert literal(text) == text
  assert not list(tmp_path.iterdir())


HOSTILE = ("../up", "/root", "a\\..\\..\\up", "./../up", "~root/home", "..")


@pytest.mark.parametrize("name", HOSTILE)
def test_upscaled_images_of_a_zip_stay_in_their_folder(name, tmp_path):
  write(tmp_path / "set", "fine.png")
  path = pack(tmp_path / "set", tmp_path / "set.zip")
  with zipfile.ZipFile(path, "a") as archive:
    content = (tmp_path / "set" / "fine.png").read_bytes()
    archive.writestr(zipfile.ZipInfo(f"{name}.png"), content)
  names, _ = read_small_images(path, (8,), 3)
  assert "fine" in names
  for each in names:
    place = tmp_path / "run" / "upscaled" / f"{each}.png"
    inside = Path(os.path.normpath(place)).relative_to(tmp_path / "run")
    assert inside.parts[0] == "upscaled"


def test_a_link_in_a_zip_is_not_followed(tmp_path):
  written = write(tmp_path / "set", *(f"{i}.png" for i in range(4)))
  path = pack(tmp_path / "set", tmp_path / "set.zip")
  secret = tmp_path / "secret.png"
  secret.write_bytes((tmp_path / "set" / "0.png").read_bytes())
  with zipfile.ZipFile(path, "a") as archive:
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(link, str(secret))
  assert len(everything(open_set(path, "zip"))[0]) == len(written)


@pytest.mark.parametrize(
  ("value", "published"),
  [
    ("folder:/home/me/cats", "folder:cats"),
    ("zip:~me/cats.zip", "zip:cats.zip"),
    ("tfds:cifar10", "tfds:cifar10"),
    ("gs://my-bucket/my-run/", "my-run"),
    ("https://me:token@host/vae.pt?signature=1", "vae.pt"),
    ("random", "random"),
    ("", ""),
    ({"a": ["/x/y", (1, None, "b")]}, {"a": ["y", [1, None, "b"]]}),
  ],
)
def test_published_configs_do_not_tell_folders(value, published):
  assert without_folders(value) == published
