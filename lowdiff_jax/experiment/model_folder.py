"""A model folder: weights and config, readable without Orbax or TFDS.

It holds model.safetensors (the EMA weights, "backbone.enc_8x8_conv.kernel"),
config.json (the config and all else that a checkpoint knows) and README.md, a
model card.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from lowdiff_jax import files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.experiment import identity, model_weights
from lowdiff_jax.experiment.errors import naming
from lowdiff_jax.experiment.model_card import model_card, without_folders
from lowdiff_jax.experiment.model_weights import WEIGHTS
from lowdiff_jax.experiment.parts import build_experiment
from lowdiff_jax.experiment.trained import Trained
from lowdiff_jax.models.weights import edm_layout
from lowdiff_jax.reading import read_json, reading
from lowdiff_jax.types import UserError

CONFIG, CARD = "config.json", "README.md"
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
  model_weights.write(model.params, folder / WEIGHTS)
  record = {
    "format": VERSION,
    **model.experiment.meta(),
    "step": model.step,
    "images_seen": model.images_seen,
  }
  files.write_json(folder / CONFIG, without_folders(record))
  files.write_text(folder / CARD, model_card(model))


def write_edm(model: Trained, path: AnyPath) -> None:
  """Writes the EMA weights as safetensors, under the names of EDM's code.

  Raises:
    UserError: EDM has no such network.
  """
  config = model.experiment.config
  if config.model.backbone != "unet" or config.cascade:
    raise UserError(
      "EDM has no such network: expected a U-Net of one resolution, such as "
      "the baseline's"
    )
  state = edm_layout.published_state(model.params["backbone"])
  model_weights.write(state, path)


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
  params = model_weights.read(path, shapes, str(folder / CONFIG))
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
