"""The smallest experiment that is still one: the digits' smoke config."""

import importlib.util

import numpy as np

from lowdiff_jax.experiment import build_experiment
from lowdiff_jax.experiment.check import check
from lowdiff_jax.types import Batch, ImageSpec
from tests.command_line import REPOSITORY

SPEC = ImageSpec(8, 1, 10)


def config(arguments="smoke", name="digits", **fields):
  """A config page of the repository with some fields changed ("a.b": 1)."""
  path = REPOSITORY / "configs" / f"{name}.py"
  spec = importlib.util.spec_from_file_location(name, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  result = module.get_config(arguments)
  result.update_from_flattened_dict(fields)
  check(result)
  return result


def experiment(arguments="smoke", devices=None, **fields):
  """Its parts."""
  return build_experiment(config(arguments, **fields), SPEC, devices=devices)


def batch(size=8, seed=0):
  """Images of noise."""
  rng = np.random.default_rng(seed)
  images = rng.integers(0, 256, (size, 8, 8, 1), np.uint8)
  return Batch(images, rng.integers(0, 10, size).astype(np.int32))
