"""Models by name: those that come with the package, as box/NAME."""

from pathlib import Path

from lowdiff_jax import files
from lowdiff_jax.buckets import AnyPath


def box() -> Path:
  """The folder that holds the folder of each, as mode export writes it."""
  return Path(__file__).parent.parent / "box"


def names() -> list[str]:
  """The models of the package."""
  return sorted(path.parent.name for path in box().glob("*/config.json"))


def find_model(model: str | AnyPath) -> AnyPath:
  """The folder of a model, given as a path or as one of `names`."""
  if model in names():
    return box() / str(model)
  return files.absolute(files.expanded(model))
