"""Paths that fields of a config hold."""

from pathlib import Path

from ml_collections import ConfigDict

from lowdiff_jax import files
from lowdiff_jax.experiment.errors import naming
from lowdiff_jax.experiment.schema import leaves


def path_of(config: ConfigDict, name: str) -> Path:
  """The path that a field holds, with the home folder for ~.

  Args:
    config: the config.
    name: full name of the field.

  Returns:
    The path.

  Raises:
    UserError: `files.expanded` refuses it; the field is named.
  """
  with naming(f"config.{name}"):
    return files.expanded(leaves(config)[name])


def data_dir(config: ConfigDict) -> str:
  """The folder of TFDS's sets, as `tfds_set.data_folder` takes it."""
  return str(path_of(config, "data.dir")) if config.data.dir else ""
