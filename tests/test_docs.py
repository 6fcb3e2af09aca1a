"""The documentation: it builds as a site, and its commands are ones."""

import importlib.util
import itertools
import json
import os
import re
import shlex
import subprocess
import sys

import pytest

from lowdiff_jax.cli import NAMES
from lowdiff_jax.experiment import legacy, pages
from lowdiff_jax.experiment.overrides import override, parse_flags, read_page
from lowdiff_jax.experiment.schema import stage_names
from tests.command_line import REPOSITORY

PAGES = [
  *sorted(REPOSITORY.glob("docs/*.md")),
  *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md")),
]
NOTEBOOK = REPOSITORY / "launch" / "colab.ipynb"
# What starts a program of the repository, and a value that the reader replaces.
PROGRAM = re.compile(r"([A-Z_]+=\S+ )*(\S*python[0-9.]*|lowdiff|bash|pip) ")
PLACEHOLDER = re.compile(r"\b[A-Z]{3,}\b|\.\.\.")


def blocks(path):
  """The code in Bash of a page; of a notebook also what its text mentions."""
  if path != NOTEBOOK:
    return re.findall(r"```bash\n(.*?)```", path.read_text(), re.DOTALL)
  cells = ["".join(c["source"]) for c in json.loads(path.read_text())["cells"]]
  text = "\n\n".join(cells)
  shell = re.findall(r"^%%bash\n(.*?)(?:\n\n|\Z)", text, re.DOTALL | re.M)
  return [*shell, *re.findall(r"`((?:lowdiff|python) [^`]+)`", text)]


def every_command():
  """Lines of code in Bash that start what the repository has, by page."""
  found = {}
  for path in (*PAGES, NOTEBOOK):
    for block in blocks(path):
      for line in block.replace("\\\n", " ").splitlines():
        line = re.split(r"(?:^|\s)#", line)[0].strip()
        if PROGRAM.match(line) and not line.count('"') % 2:
          found[f"{path.name}: {line}"] = line
  return found


COMMANDS = every_command()


def flags_of(words, line):
  """Checks the flags of the command."""
  given = dict(
    word[2:].partition("=")[::2] for word in words if word.startswith("--")
  )
  mode = given.get("mode", "train")
  assert mode in NAMES or PLACEHOLDER.search(mode), line
  page = given.get("config", "")
  if not page:
    run = given.get("model") or given.get("workdir", "").rpartition("/")[2]
    name = run.partition("-")[0]
    page = name if name in pages.names() else "digits"
  if PLACEHOLDER.search(page):
    return
  page = page.removeprefix("configs/").replace(".py", "")
  assert page.partition(":")[0] in pages.names(), line
  config = read_page(page)
  fields = [
    (name.removeprefix("config."), value)
    for name, value in given.items()
    if name.startswith("config.")
  ]
  values = parse_flags(fields, config)
  sure = {n: v for n, v in values.items() if not PLACEHOLDER.search(str(v))}
  override(config, sure)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_one(name):
  """Programs, files, modes, pages and fields exist, and values are allowed."""
  for line in re.split(r" (?:&&|\|) ", COMMANDS[name]):
    words = shlex.split(line)
    while re.fullmatch(r"[A-Z_]+=.*", words[0]):
      words = words[1:]
    for flag, file in itertools.pairwise(words):
      if flag == "-r":
        assert (REPOSITORY / file).is_file(), line
    if words[0] == "bash":
      assert (REPOSITORY / words[1]).is_file(), line
    if words[0].startswith("python") and words[1] == "-m":
      assert importlib.util.find_spec(words[2]), line
    if words[0] == "lowdiff" or words[1:3] == ["-m", "lowdiff_jax.main"]:
      flags_of(words, line)


def test_every_field_that_is_named_exists():
  stages = {n for page in pages.names() for n in stage_names(read_page(page))}
  config = read_page("digits")
  for path in (*PAGES, NOTEBOOK):
    for name in re.findall(
      r"--config\.([a-z_0-9.]*[a-z_0-9])=", path.read_text()
    ):
      side = re.match(r"stages\.(s\d+)\.", name)
      assert side is None or side[1] in stages, f"{path.name}: {name}"
      if name == "section.field" or legacy.is_former(name):
        continue
      name = re.sub(r"^stages\.s\d+\.", "stages.s8.", name)
      assert parse_flags([(name, "1")], config), f"{path.name}: {name}"


def test_every_file_of_the_method_exists():
  text = (REPOSITORY / "docs" / "method.md").read_text()
  known = {
    path.relative_to(REPOSITORY / "lowdiff_jax").as_posix()
    for path in (REPOSITORY / "lowdiff_jax").rglob("*")
  }
  for name in re.findall(r"`([a-z_/0-9]+(?:\.py|/))`", text):
    name = name.rstrip("/")
    here = (REPOSITORY / name).exists()
    assert here or any(k.endswith(name) for k in known), name
  for file, functions in re.findall(r"`([a-z_/]+\.py)`: (`[^|]*)", text):
    source = (REPOSITORY / "lowdiff_jax" / file).read_text()
    for name in re.findall(r"`(\w+)`", functions):
      assert re.search(rf"^(def|class) {name}\b", source, re.M), name


def test_the_site_builds_without_warnings(tmp_path):
  """Of links, anchors and docstrings; and its pages load nothing from afar."""
  build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
  done = subprocess.run(
    [*build, f"--site-dir={tmp_path}"],
    cwd=REPOSITORY,
    env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stdout + done.stderr
  for path in PAGES:
    page = {"README": ""}.get(path.stem, path.stem)
    text = (tmp_path / page / "index.html").read_text()
    loaded = re.findall(r'<(?:script|img|link)[^>]*(?:src|href)="([^"]*)', text)
    away = [a for a in loaded if a.startswith(("http", "//"))]
    assert not away, f"{path.name}: {away}"
  reference = (tmp_path / "reference" / "index.html").read_text()
  for name in ("api.load", "diffusion.cascade.Stage", "model.Model.upscale"):
    assert f'id="lowdiff_jax.{name}"' in reference
