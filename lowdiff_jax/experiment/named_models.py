"""Trained models by name or folder: a run, an export, or one of the package."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

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


def beside(model: str) -> str | None:
  """The baseline that belongs to a model: MODEL-baseline, if there is one."""
  baseline = f"{model.rstrip('/')}-baseline"
  return baseline if files.is_folder(find_model(baseline)) else None


def read_config(model: str | AnyPath) -> ConfigDict:
  """The config that a model was trained with.

  Args:
    model: see `find_model`.

  Returns:
    The config.

  Raises:
    UserError: there is no such model, or it is damaged.
  """
  folder = find_model(model)
  if model_folder.is_model_folder(folder):
    return model_folder.read_config(folder)
  if files.is_folder(folder / "checkpoints"):
    from lowdiff_jax.experiment import run_folder  # Imports Orbax.

    found = run_folder.read_config(folder)
    if found is not None:
      return found
  known = f"; models of the package: {', '.join(names())}" if names() else ""
  raise UserError(
    f"{model} holds no model: expected the folder of a run, with "
    f"checkpoints, or one that export wrote{known}"
  )


def load(model: str | AnyPath, config: ConfigDict) -> Trained:
  """A trained model.

  Args:
    model: see `find_model`.
    config: its own, up to what may be changed.

  Returns:
    The model.

  Raises:
    UserError: there is none, or it is not of this config.
  """
  folder = find_model(model)
  if model_folder.is_model_folder(folder):
    return model_folder.read(folder, config)
  from lowdiff_jax.experiment import run_folder

  return run_folder.load(config, folder)


def load_for(config: ConfigDict, workdir: AnyPath) -> Trained:
  """What a mode of a run samples: `sampling.model`, or else its checkpoint."""
  if config.sampling.model:
    return load(config.sampling.model, config)
  from lowdiff_jax.experiment import run_folder

  return run_folder.load(config, workdir)


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
  own = read_config(model)
  return load(model, identity.for_run(own, None, fields, str(model)))
