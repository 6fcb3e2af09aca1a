"""The library: load a model, sample it, train one. docs/library.md shows how.

A mistake raises ValueError, in one line that says the way out.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from lowdiff_jax import files, locks
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.data.splits import Data
from lowdiff_jax.experiment import identity
from lowdiff_jax.experiment.named_models import find_trained
from lowdiff_jax.experiment.overrides import override, read_page
from lowdiff_jax.model import Model


def load(path: str | AnyPath, fields: Mapping[str, Any] | None = None) -> Model:
  """Loads a trained model.

  Args:
    path: a run's workdir; a folder that `Model.export` or --mode=export wrote;
      one of a hub, "hf://OWNER/NAME"; or a model of the package by its name.
    fields: of the config to change, by full name: {"stages.s8.steps": 3}. Only
      those that training did not fix.

  Returns:
    The model, with its EMA weights.

  Raises:
    ValueError: there is no model, or a field contradicts what was trained.
  """
  return Model(find_trained(path, fields or {}))


def config(
  page: str | AnyPath, fields: Mapping[str, Any] | None = None
) -> ConfigDict:
  """The config of a page.

  Args:
    page: a file, or a page of the package, "cifar10"; "cifar10:cond".
    fields: to change, by full name: {"train.images": 100_000}.

  Returns:
    The config, checked.

  Raises:
    ValueError: there is no such page or field, or a wrong value.
  """
  return override(read_page(str(page)), fields or {})


def fit(
  config: ConfigDict, workdir: str | AnyPath, data: Data | None = None
) -> Model:
  """Trains a cascade, or goes on with the run in the folder.

  Args:
    config: see `config`, or `defaults.pixels` for one without a page.
    workdir: of the run: checkpoints, metrics.jsonl, tensorboard.
    data: images to train on and to hold out (`from_arrays`); None for those
      that config.data names.

  Returns:
    The model, with the weights of the last checkpoint.

  Raises:
    ValueError: a mistake in the config or the data, another run in the folder,
      another process that trains there, a full disk, or a loss that is not
      finite.
  """
  from lowdiff_jax.experiment import run_folder, sources, training_run
  from lowdiff_jax.experiment.parts import build_experiment

  folder = files.absolute(files.expanded(workdir))
  files.make_folder(folder)
  with locks.owned(folder, "train"):
    own = run_folder.read_config(folder)
    config = identity.for_run(own, config, {}, str(workdir))
    data = sources.open_data(config) if data is None else data
    experiment = build_experiment(config, data.train.spec, data.latents)
    return Model(training_run.train(experiment, data, folder))
