"""Maps EDM's published U-Net parameters to `unet.UNet`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

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
  """
  params: dict[str, Any] = {}
  for name, array in state.items():
    *modules, leaf = name.removeprefix("model.").split(".")
    if leaf == _BUFFER:
      continue
    if modules[0].startswith("map_"):
      modules = ["mapping", *modules]
    else:
      modules = [f"{modules[0]}_{modules[1]}", *modules[2:]]
      if modules[-1] in ("norm2", "qkv", "proj"):
        modules.insert(-1, "attention")
    if leaf == "weight":
      leaf = "scale" if array.ndim == 1 else "kernel"
      array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
    branch = params
    for module in modules:
      branch = branch.setdefault(module, {})
    branch[leaf] = array.astype(np.float32)
  return params
