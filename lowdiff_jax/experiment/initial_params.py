"""The weights that a new run starts from."""

from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from lowdiff_jax import files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.experiment import model_weights
from lowdiff_jax.experiment.paths import path_of
from lowdiff_jax.experiment.schema import resolutions
from lowdiff_jax.models.weights import (
  edm_layout,
  lightningdit_layout,
  state_dict,
)
from lowdiff_jax.reading import reading
from lowdiff_jax.types import UserError


def initial_params(config: ConfigDict, fresh: dict[str, Any]) -> dict[str, Any]:
  """The weights that `config.model.init_from` names.

  Args:
    config: the config.
    fresh: freshly initialised, on their shardings.

  Returns:
    For a file, `fresh` with the published weights in the backbone; for the
    folder of a run, the EMA weights of its newest checkpoint; for an exported
    folder its own.

  Raises:
    UserError: there are no weights, or they are of another network.
  """
  path = path_of(config, "model.init_from")
  if files.is_folder(path):
    exported = path / model_weights.WEIGHTS
    if exported.is_file():
      return model_weights.read(exported, fresh, "this config")
    return _of_run(path, fresh)
  if not path.exists():
    raise UserError(
      f"config.model.init_from: there is no {path}; name the folder of a run "
      "or a file of published weights"
    )
  params = _published(config, files.local(path), jax.device_get(fresh))
  return jax.device_put(params, jax.tree.map(lambda leaf: leaf.sharding, fresh))


def _of_run(workdir: AnyPath, fresh: dict[str, Any]) -> dict[str, Any]:
  from lowdiff_jax.train.checkpoint import Checkpoints  # Imports Orbax.

  checkpoints = Checkpoints(
    workdir / "checkpoints", create=False, option="--config.model.init_from"
  )
  with reading(workdir / "checkpoints"):
    params = checkpoints.read(
      None, lambda step: checkpoints.restore_ema(fresh, step)
    )
  checkpoints.close()
  return params


def _published(
  config: ConfigDict, path: Path, params: dict[str, Any]
) -> dict[str, Any]:
  """`params` with the backbone's parameters from the file."""
  if not config.model.shared:
    raise UserError(
      f"config.model.init_from: {path} would be of one network, as published "
      "weights are; set config.model.shared to True, or take a run's folder"
    )
  state = state_dict.read_state(path)
  if config.model.backbone == "dit":
    side = resolutions(config)[-1]
    loaded = lightningdit_layout.dit_params(state, side)
    ours, theirs = map(state_dict.names, (params["backbone"], loaded))
    if lacking := ours - theirs:
      raise UserError(
        f"config.model.init_from: {path} lacks the parameter {min(lacking)}"
      )
  else:
    loaded = edm_layout.unet_params(state)
    # Without augmentation its labels are zero, and their map has no effect.
    if "map_augment" not in params["backbone"]["mapping"]:
      loaded.get("mapping", {}).pop("map_augment", None)
  return state_dict.overlay(params, {"backbone": loaded})
