"""A model folder: weights and config, readable without Orbax or TFDS.

It holds model.safetensors (the EMA weights, "backbone.enc_8x8_conv.kernel"),
config.json (the config and all else that a checkpoint knows) and README.md, a
model card.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from safetensors.numpy import load_file, save_file

from lowdiff_jax import console, files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.experiment import identity
from lowdiff_jax.experiment.errors import naming
from lowdiff_jax.experiment.model_card import model_card, without_folders
from lowdiff_jax.experiment.parts import build_experiment
from lowdiff_jax.experiment.trained import Trained
from lowdiff_jax.reading import read_json, reading
from lowdiff_jax.types import UserError

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
# Of the folder's format.
VERSION = 1


def is_model_folder(folder: AnyPath) -> bool:
  """Whether `write` has made a folder."""
  return (folder / WEIGHTS).is_file()


def write(model: Trained, folder: AnyPath) -> None:
  """Writes a model; each file completely or not at all.

  Args:
    model: the model.
    folder: is made if it is not there.
  """
  files.make_folder(folder)
  arrays = {
    name: np.ascontiguousarray(array)
    for name, array in _flat(jax.device_get(model.params)).items()
  }
  with files.replacing(folder / WEIGHTS) as partial:
    save_file(arrays, partial)
    partial.chmod(0o644)  # safetensors leaves it to its owner.
  record = {
    "format": VERSION,
    **model.experiment.meta(),
    "step": model.step,
    "images_seen": model.images_seen,
  }
  files.write_json(folder / CONFIG, without_folders(record))
  files.write_text(folder / CARD, model_card(model))


def read_config(folder: AnyPath) -> ConfigDict:
  """The config that a model was trained with; see `read` for errors."""
  record = _record(folder)
  with naming(str(folder / CONFIG)):
    return identity.from_json(record["config"])


def read(folder: AnyPath, config: ConfigDict) -> Trained:
  """The model of a folder.

  Args:
    folder: that `write` has made.
    config: its own, up to what may be changed.

  Returns:
    The model.

  Raises:
    UserError: a file is missing, damaged or not of this config.
  """
  record, path = _record(folder), folder / WEIGHTS
  with reading(folder / CONFIG):
    spec, latents = identity.read_spec(record)
  experiment = build_experiment(config, spec, latents)
  shapes = experiment.state_shapes.ema_params
  with reading(path), console.taking(f"loading {path}"):
    arrays = load_file(files.local(path))
  wanted = _flat(shapes)
  for name in sorted(wanted.keys() | arrays.keys()):
    ours = wanted[name].shape if name in wanted else "absent"
    theirs = arrays[name].shape if name in arrays else "absent"
    if ours != theirs:
      raise UserError(
        f"{path}: {name} is {theirs} there, and {ours} by {folder / CONFIG}"
      )
  leaves, tree = jax.tree_util.tree_flatten_with_path(shapes)
  params = jax.tree_util.tree_unflatten(
    tree,
    [jax.device_put(arrays[_name(at)], leaf.sharding) for at, leaf in leaves],
  )
  return Trained(experiment, params, record["step"], record["images_seen"])


def _record(folder: AnyPath) -> Mapping[str, Any]:
  path = folder / CONFIG
  record = read_json(path)
  with reading(path):
    version = record["format"]
    if version != VERSION:
      raise UserError(
        f"{path} is of format {version}, and this version of lowdiff_jax reads "
        f"{VERSION}"
      )
    for name in ("step", "images_seen"):
      if type(record[name]) is not int:
        raise ValueError(f"{name} is {record[name]!r}")
    _ = record["config"], record["spec"]
  return record


def _flat(params: Any) -> dict[str, Any]:
  leaves = jax.tree_util.tree_leaves_with_path(params)
  return {_name(path): leaf for path, leaf in leaves}


def _name(path: Any) -> str:
  return jax.tree_util.keystr(path, simple=True, separator=".")
