"""Parity of the FID Inception; see `verify.py`."""

import functools
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from lowdiff_jax.metrics.inception import OUTPUTS, InceptionV3
from lowdiff_jax.metrics.inception_weights import exactly, inception_params
from lowdiff_jax.types import Array


def outputs(
  config: Mapping[str, Any],
  state: Mapping[str, np.ndarray],
  inputs: Mapping[str, np.ndarray],
) -> dict[str, Callable[[], Array]]:
  """Output name -> what our network makes of the pictures.

  A config with `shapes` is of random weights that follow from their names.
  """
  names = tuple(OUTPUTS)
  if "shapes" in config:
    state = {
      name: random_weight(config["seed_prefix"], name, shape)
      for name, shape in config["shapes"].items()
    }
  else:  # As far as mixed_7.
    names = names[: names.index("pool768") + 1]
  module = InceptionV3(names)
  params = exactly(module, inception_params(state))
  # At once, and as arguments: XLA would fold constants for minutes.
  found = jax.jit(module.apply)({"params": params}, inputs["images"])
  return {name: functools.partial(found.get, name) for name in names}


def random_weight(prefix: str, name: str, shape: tuple[int, ...]) -> np.ndarray:
  """The weights that a golden file of this network has instead of its own."""
  rng = np.random.default_rng(zlib.crc32((prefix + name).encode()))
  if name.endswith("num_batches_tracked"):
    value = np.zeros(shape)
  elif name.endswith("running_var"):
    value = 0.5 + rng.random(shape)
  elif name.endswith("bn.weight"):
    value = 0.8 + 0.4 * rng.random(shape)
  elif name.endswith(("running_mean", "bias")):
    value = 0.1 * rng.standard_normal(shape)
  else:
    fan_in = np.prod(shape[1:])
    value = rng.standard_normal(shape) * np.sqrt(2 / fan_in)
  return value.astype(np.float32)
