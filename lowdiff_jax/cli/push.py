"""The command push: publishes a model folder on a hub."""

from collections.abc import Sequence
from pathlib import Path

from lowdiff_jax import console, files, hub
from lowdiff_jax.experiment import model_folder
from lowdiff_jax.types import UserError


def run(words: Sequence[str]) -> None:
  """lowdiff push FOLDER OWNER/NAME.

  Raises:
    UserError: the words are others, or see `hub.push`.
  """
  if len(words) != 2:
    raise UserError("expected: lowdiff push FOLDER OWNER/NAME")
  folder = files.expanded(words[0])
  if not isinstance(folder, Path):
    raise UserError(f"{folder}: expected a folder on a disk")
  if model_folder.is_model_folder(folder):
    model_folder.read_config(folder)  # Says what is damaged.
  with console.taking(f"uploading {folder}"):
    print(hub.push(folder, words[1]))
