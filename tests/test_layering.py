"""Imports point one way: what a layer may know of the package."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "lowdiff_jax"
FILES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted(Path(__file__).parent.rglob("*.py"))
PROGRAMS = sorted(
  path
  for folder in ("launch", "configs")
  for path in (PACKAGE.parent / folder).rglob("*.py")
)

_BASE = {"types", "buckets", "reading", "__init__"}
_SHARED = _BASE | {"console", "files", "distributed", "leases", "locks"}
ALLOWED = {
  "types": set(),
  "buckets": {"types"},
  "reading": {"types", "buckets"},
  "__init__": set(),
  "console": set(),
  "files": _BASE,
  "distributed": _BASE | {"console"},
  "leases": _BASE | {"console"},
  "locks": _BASE | {"console", "files", "distributed", "leases"},
  "hub": _BASE | {"files"},
  "diffusion": _BASE,
  "models": _BASE | {"diffusion"},
  "data": _SHARED | {"diffusion"},
  "train": _SHARED | {"diffusion", "models", "data"},
  "generate": _SHARED | {"diffusion", "data"},
  "metrics": _SHARED | {"models", "data"},
  "profiling": _SHARED | {"diffusion", "generate"},
  "parity": _BASE | {"diffusion", "models", "metrics"},
}
ALLOWED["schedules"] = ALLOWED["profiling"] | {"profiling"}
ALLOWED["experiment"] = set(ALLOWED) - {"parity"}
ALLOWED["report"] = ALLOWED["experiment"] | {"experiment"}
ALLOWED["cli"] = ALLOWED["report"] | {"report"}
ALLOWED["demo"] = ALLOWED["cli"] | {"cli"}
ALLOWED["main"] = {"cli"}
ALLOWED["model"] = ALLOWED["cli"]
ALLOWED["api"] = ALLOWED["model"] | {"model"}
# Its names are imported when they are first used.
ALLOWED["__init__"] = ALLOWED["api"] | {"api"}
# What opens files itself: the data sets and golden files are on a disk.
OPENERS = {"files.py", "buckets.py", "locks.py", "data", "parity"}
OPENING = re.compile(
  r"open|shutil\..*|os\.(open|re(move|name|place)|unlink|mkdir|makedirs|listdir)"
)
# Paths that no user gives as those of a run, and temporary ones.
OWN_PATHS = {
  ("cli/main.py", "Path(file)"),
  ("experiment/evaluation.py", "Path(PUBLISHED)"),
  ("demo/player.py", "Path(path)"),
  ("experiment/pages.py", "Path(page)"),
  ("hub.py", "Path(found)"),
  ("train/manifest.py", "Path(file)"),
  ("train/manifest.py", "Path(folder)"),
  ("train/trace.py", "Path(name)"),
  ("train/writer.py", "Path(self._temporary.name)"),
}
# Who else may know these packages.
HOMES = {
  # The network that judges is no model.
  "flax": {"models", "metrics/inception.py"},
  "orbax": {"train/checkpoint.py", "train/checkpoint_reader.py"},
  "optax": {"train", "experiment/training.py"},
  "ml_collections": {"experiment", "report", "cli", "model.py", "api.py"},
  "grain": {"data"},
  "array_record": {"data"},
  "tensorflow_datasets": {"data"},
  "sklearn": {"data", "metrics"},
  "threadpoolctl": {"metrics"},
  "matplotlib": {"schedules/pareto.py"},
  "gradio": {"demo/page.py"},
  "huggingface_hub": {"hub.py"},
  "fsspec": {"buckets.py"},
  "absl": {"data", "train", "experiment/evaluation.py", "cli"},
}


def is_program(node):
  """`if __name__ == "__main__":`, where a file stands above all others."""
  return isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)


def imports(path):
  """Every module that a file imports, at any depth."""
  tree = ast.parse(path.read_text())
  tree.body = [node for node in tree.body if not is_program(node)]
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      yield from (name.name for name in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f"{path} imports relatively"
      yield node.module
      yield from (f"{node.module}.{name.name}" for name in node.names)


def layer(path):
  part = path.relative_to(PACKAGE).parts[0]
  return part.removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_point_down(path):
  for name in imports(path):
    parts = name.split(".")
    if parts[0] != "lowdiff_jax" or len(parts) < 2:
      continue
    known = parts[1]
    if not ((PACKAGE / known).is_dir() or (PACKAGE / f"{known}.py").exists()):
      continue  # A name of the package itself, such as its version.
    fine = known == layer(path) or known in ALLOWED[layer(path)]
    assert fine, f"{path} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_libraries_stay_at_home(path):
  relative = path.relative_to(PACKAGE)
  for name in imports(path):
    homes = HOMES.get(name.split(".")[0])
    # Every score says which Flax it was made with.
    if homes is None or (name, str(relative)) == ("flax", "cli/evaluate.py"):
      continue
    places = {relative.parts[0], relative.as_posix()}
    assert places & homes, f"{path} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_only_programs_print(path):
  """All else says what it does through `console`, which can be quiet."""
  tree = ast.parse(path.read_text())
  tree.body = [node for node in tree.body if not is_program(node)]
  calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
  prints = [node for node in calls if ast.unparse(node.func) == "print"]
  assert not prints or layer(path) in ("cli", "parity")


@pytest.mark.parametrize("path", FILES, ids=str)
def test_paths_of_a_run_may_be_in_a_bucket(path):
  """`files.expanded` makes them of text, and `files` writes them."""
  relative = path.relative_to(PACKAGE)
  if {relative.parts[0], relative.as_posix()} & OPENERS:
    return
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Call):
      call, function = ast.unparse(node), ast.unparse(node.func)
      assert not OPENING.fullmatch(function), call
      own = "__file__" in call or (relative.as_posix(), call) in OWN_PATHS
      assert own or function not in ("Path", "pathlib.Path"), call


@pytest.mark.parametrize("path", [*FILES, *PROGRAMS, *TESTS], ids=str)
def test_every_file_is_short_and_named_for_what_it_does(path):
  assert path.stem not in ("utils", "helpers", "misc")
  assert len(path.read_text().splitlines()) <= 260


@pytest.mark.parametrize("path", [*FILES, *PROGRAMS], ids=str)
def test_functions_are_short_and_take_few_parameters(path):
  lines = path.read_text().splitlines()
  for node in ast.walk(ast.parse(path.read_text())):
    if not isinstance(node, ast.FunctionDef):
      continue
    assert node.end_lineno - node.lineno < 60, node.name
    everything = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
    names = [arg.arg for arg in everything if arg.arg not in ("self", "cls")]
    # A comment above may say why there are more.
    above = lines[node.lineno - 2].strip() if node.lineno > 1 else ""
    assert len(names) <= 7 or above.startswith("#"), node.name


@pytest.mark.parametrize("path", [*FILES, *PROGRAMS], ids=str)
def test_private_names_stay_in_their_file(path):
  for name in imports(path):
    parts = name.split(".")
    if parts[0] in ("lowdiff_jax", "launch", "configs"):
      private = [part for part in parts[1:] if part.startswith("_")]
      assert not [part for part in private if not part.startswith("__")], name
