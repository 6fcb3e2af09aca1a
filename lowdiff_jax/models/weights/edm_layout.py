"""Maps EDM's published U-Net parameters to `unet.UNet`, and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lowdiff_jax.models.weights.tree import (
  leaves,
  our_layout,
  place,
  published_layout,
)
from lowdiff_jax.types import UserError

# A buffer of the published U-Net, which is a constant here.
_BUFFER = "resample_filter"


def unet_params(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """The parameters of `unet.UNet` from EDM's state dict.

  Convolutions OIHW become HWIO, matrices [out, in] become [in, out], and
  "enc.8x8_block0.qkv.weight" becomes enc_8x8_block0/attention/qkv/kernel.

  Args:
    state: published name -> array; a leading "model." is dropped.

  Returns:
    The parameter tree.

  Raises:
    UserError: a name is not of that network.
  """
  params: dict[str, Any] = {}
  for name, array in state.items():
    *modules, leaf = name.removeprefix("model.").split(".")
    if leaf == _BUFFER:
      continue
    if not modules or (len(modules) < 2 and not modules[0].startswith("map_")):
      raise UserError(f"EDM's U-Net has no parameter {name!r}")
    if modules[0].startswith("map_"):
      modules = ["mapping", *modules]
    else:
      modules = [f"{modules[0]}_{modules[1]}", *modules[2:]]
      if modules[-1] in ("norm2", "qkv", "proj"):
        modules.insert(-1, "attention")
    leaf, array = our_layout(leaf, array)
    place(params, [*modules, leaf], array)
  return params


def published_state(params: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """EDM's state dict of `unet.UNet`: the inverse of `unet_params`.

  Args:
    params: the parameter tree.

  Returns:
    Published name -> array. The buffers of the published code, which are
    constants, are left out.
  """
  state = {}
  for (*modules, leaf), array in leaves(params):
    modules = [name for name in modules if name != "attention"]
    if modules[0] == "mapping":
      modules = modules[1:]
    else:
      modules[0] = modules[0].replace("_", ".", 1)
    leaf, array = published_layout(leaf, array)
    state[".".join([*modules, leaf])] = np.ascontiguousarray(array)
  return state
