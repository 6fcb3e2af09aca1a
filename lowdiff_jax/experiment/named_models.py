"""Trained models by name or folder: a run, an export, or one of the package."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lowdiff_jax import files, hub
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.experiment import identity, model_folder
from lowdiff_jax.experiment.trained import Trained
from lowdiff_jax.types import UserError


def box() -> Path:
  """Where the package holds its models, each a folder as export writes it."""
  return Path(__file__).parent.parent / "box"


def names() -> list[str]:
  """The models of the package."""
  return sorted(path.parent.name for path in box().glob("*/config.json"))


def find_model(model: str | AnyPath) -> AnyPath:
  """The folder of a model: a path, one of `names`, or fetched from a hub."""
  if hub.is_address(model):
    return hub.fetch(str(model))
  if model in names():
    return box() / str(model)
  return files.absolute(files.expanded(model))


def find_trained(model: str | AnyPath, fields: Mapping[str, Any]) -> Trained:
  """A trained model.

  Args:
    model: see `find_model`.
    fields: of the config to change, by full name.

  Returns:
    The model.

  Raises:
    UserError: there is none, or a field contradicts what was trained.
  """
  folder = find_model(model)
  if model_folder.is_model_folder(folder):
    own = model_folder.read_config(folder)
    config = identity.for_run(own, None, fields, str(model))
    return model_folder.read(folder, config)
  if not files.is_folder(folder / "checkpoints"):
    known = f"; models of the package: {', '.join(names())}" if names() else ""
    raise UserError(
      f"{model} holds no model: expected the folder of a run, with "
      f"checkpoints, or one that export wrote{known}"
    )
  from lowdiff_jax.experiment import run_folder  # Imports Orbax.

  found = run_folder.read_config(folder)
  config = identity.for_run(found, None, fields, str(model))
  return run_folder.load(config, folder)
