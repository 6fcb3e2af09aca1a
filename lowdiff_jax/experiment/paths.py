"""Paths that fields of a config hold."""

from pathlib import Path

from ml_collections import ConfigDict

from lowdiff_jax import files, hub
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.experiment.errors import naming
from lowdiff_jax.experiment.schema import leaves


def path_of(config: ConfigDict, name: str) -> AnyPath:
  """The path that a field holds, with the home folder for ~.

  What it names on a hub is fetched.

  Args:
    config: the config.
    name: full name of the field.

  Returns:
    The path.

  Raises:
    UserError: `files.expanded` or `hub.fetch` refuses it; the field is named.
  """
  value = leaves(config)[name]
  with naming(f"config.{name}"):
    return hub.fetch(value) if hub.is_address(value) else files.expanded(value)


def file_of(config: ConfigDict, name: str) -> Path:
  """The file, or the folder on a disk, that a field names.

  Args:
    config: the config.
    name: full name of the field.

  Returns:
    Its path; of an object in a bucket that of a local copy (`files.local`).

  Raises:
    UserError: as of `path_of`, or there is no such object; the field is named.
  """
  path = path_of(config, name)
  with naming(f"config.{name}"):
    return files.local(path)


def data_dir(config: ConfigDict) -> str:
  """The folder of TFDS's sets, as `tfds_set.data_folder` takes it."""
  return str(path_of(config, "data.dir")) if config.data.dir else ""
