"""The package as others install it: its wheel, and an environment with it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import setuptools.build_meta

from tests import command_line
from tests.command_line import REPOSITORY

# What a wheel is made of.
SOURCES = (
  "pyproject.toml",
  "setup.py",
  "README.md",
  "LICENSE",
  *(path.name for path in REPOSITORY.glob("requirements*.txt")),
)


def build(source: Path) -> Path:
  """The wheel of a copy of this tree."""
  source.mkdir()
  for name in SOURCES:
    shutil.copy(REPOSITORY / name, source)
  for name in ("lowdiff_jax", "configs"):
    shutil.copytree(
      REPOSITORY / name,
      source / name,
      ignore=shutil.ignore_patterns("__pycache__"),
    )
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(source)
    name = setuptools.build_meta.build_wheel(str(source))
  return source / name


def install(wheel: Path, root: Path) -> Path:
  """The programs of an environment that has the wheel, and all of this one's.

  Nothing is downloaded.
  """
  new = [sys.executable, "-m", "venv", "--without-pip", root]
  subprocess.run(new, check=True)
  python = root / "bin" / "python"
  pip = [sys.executable, "-m", "pip", f"--python={python}", "install"]
  flags = ["--quiet", "--no-deps", "--no-index", "--no-compile"]
  subprocess.run([*pip, *flags, wheel], check=True)
  (packages,) = root.glob("lib/python*/site-packages")
  others = [path for path in sys.path if path.endswith("site-packages")]
  (packages / "others.pth").write_text("\n".join(others))
  return root / "bin"


def environment(**extra: str) -> dict[str, str]:
  """Of a program in a folder without the repository."""
  env = command_line.environment(**extra)
  env.pop("PYTHONPATH", None)
  return env
