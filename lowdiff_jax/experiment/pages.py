"""The config pages that come with the package: configs/*.py."""

import ast
from pathlib import Path


def folder() -> Path:
  """Their folder: in an installed package; beside it in a clone."""
  package = Path(__file__).parent.parent
  installed = package / "configs"
  return installed if installed.is_dir() else package.parent / "configs"


def names() -> list[str]:
  """What --config calls them: "digits" for digits.py."""
  return sorted(path.stem for path in folder().glob("*.py"))


def find(page: str) -> Path:
  """The file of a page, given as a file or as one of `names`."""
  return folder() / f"{page}.py" if page in names() else Path(page)


def summaries() -> dict[str, str]:
  """The first line of each page's docstring, by the page's name."""
  found = {}
  for name in names():
    doc = ast.get_docstring(ast.parse(find(name).read_text()))
    found[name] = (doc or "").partition("\n")[0]
  return found
