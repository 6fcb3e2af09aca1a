"""Maps published weights of autoencoders to our parameter trees."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lowdiff_jax.models.weights.tree import place

# A file may also hold modules of training: the loss, its discriminator,
# VA-VAE's projection to a foundation model.
_PARTS = ("encoder", "decoder", "quant_conv", "post_quant_conv")


def autoencoder_params(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """The parameters of `kl.KLAutoencoder` from a published state dict.

  "encoder.down.1.attn.0.q.weight" becomes encoder/down_1_attn_0/q/kernel.

  Args:
    state: published name -> array; names of other modules are ignored.

  Returns:
    The parameter tree.
  """

  def ours(modules: list[str]) -> list[str]:
    if len(modules) < 3:
      return modules
    return [modules[0], "_".join(modules[1:-1]), modules[-1]]

  return _tree(state, ours)


def taef2_params(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """The parameters of `taef2.TAEF2` from a published state dict.

  "encoder.12.pool.1.weight" becomes encoder/layer_12/pool_1/scale.

  Args:
    state: published name with "encoder." or "decoder." in front -> array.

  Returns:
    The parameter tree.
  """

  def ours(modules: list[str]) -> list[str]:
    layer = [f"layer_{number}" for number in modules[1:2]]
    inner = ["_".join(modules[2:])] if len(modules) > 2 else []
    return [modules[0], *layer, *inner]

  return _tree(state, ours)


def _tree(
  state: Mapping[str, np.ndarray], ours: Callable[[list[str]], list[str]]
) -> dict[str, Any]:
  """The tree of all arrays, convolutions from OIHW to HWIO.

  `ours` maps the published module names to those of the tree.
  """
  params: dict[str, Any] = {}
  for name, array in state.items():
    *modules, leaf = name.split(".")
    if not modules or modules[0] not in _PARTS:
      continue
    if leaf == "weight":
      leaf = "scale" if array.ndim == 1 else "kernel"
    array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array
    place(params, [*ours(modules), leaf], array)
  return params
