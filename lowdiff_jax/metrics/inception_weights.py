"""Loads weights of the FID Inception from published files.

Two layouts are supported: that of PyTorch, with batch normalisation as separate
layers, and that of TensorFlow, with it folded into the convolutions. The latter
ends at mixed_7, which gives the 768-dimensional features.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lowdiff_jax.metrics.inception import OUTPUTS, SIDE, InceptionV3
from lowdiff_jax.models.weights import state_dict
from lowdiff_jax.types import UserError

# The file of pytorch-fid's release, identical to torch-fidelity's.
PUBLISHED = "pt_inception-2015-12-05-6726825d.pth"
PUBLISHED_SHA256 = (
  "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
)
# Epsilon of batch normalisation.
_EPSILON = 1e-3

_STEM = {
  "conv": "Conv2d_1a_3x3",
  "conv_1": "Conv2d_2a_3x3",
  "conv_2": "Conv2d_2b_3x3",
  "conv_3": "Conv2d_3b_1x1",
  "conv_4": "Conv2d_4a_3x3",
}
_MIXED_A = {
  "conv": "branch1x1",
  "tower_conv": "branch5x5_1",
  "tower_conv_1": "branch5x5_2",
  "tower_1_conv": "branch3x3dbl_1",
  "tower_1_conv_1": "branch3x3dbl_2",
  "tower_1_conv_2": "branch3x3dbl_3",
  "tower_2_conv": "branch_pool",
}
_MIXED_B = {
  "conv": "branch3x3",
  "tower_conv": "branch3x3dbl_1",
  "tower_conv_1": "branch3x3dbl_2",
  "tower_conv_2": "branch3x3dbl_3",
}
_MIXED_C = {
  "conv": "branch1x1",
  "tower_conv": "branch7x7_1",
  "tower_conv_1": "branch7x7_2",
  "tower_conv_2": "branch7x7_3",
  "tower_1_conv": "branch7x7dbl_1",
  "tower_1_conv_1": "branch7x7dbl_2",
  "tower_1_conv_2": "branch7x7dbl_3",
  "tower_1_conv_3": "branch7x7dbl_4",
  "tower_1_conv_4": "branch7x7dbl_5",
  "tower_2_conv": "branch_pool",
}
# PyTorch's blocks for TensorFlow's mixed, mixed_1, ... mixed_7.
_MIXED = (
  *(("Mixed_5" + letter, _MIXED_A) for letter in "bcd"),
  ("Mixed_6a", _MIXED_B),
  *(("Mixed_6" + letter, _MIXED_C) for letter in "bcde"),
)


class Inception(NamedTuple):
  """The network with its weights.

  Attributes:
    module: the network, with the outputs that the weights allow.
    params: parameters of the module.
    sha256: SHA-256 of the file.
    pool: the output that the Frechet distance compares.
  """

  module: InceptionV3
  params: Any
  sha256: str
  pool: str

  def suffix(self) -> str:
    """Suffix of metrics' names that tells how they differ from FID's; or ""."""
    side = self.module.side
    size = "" if self.pool == "pool2048" else f"_{OUTPUTS[self.pool]}"
    return size + ("" if side == SIDE else f"_at_{side}")


def load_inception(path: Path, side: int = SIDE) -> Inception:
  """Loads the network from a file.

  Args:
    path: the published .pth, or its conversion to .safetensors or .npz; or a
      .safetensors or .npz with TensorFlow's names, up to mixed_7.
    side: see `InceptionV3`; spatial features are available at 299 only.

  Returns:
    The network; its `pool` is "pool2048" if the file has all layers, else
    "pool768".

  Raises:
    UserError: the file is missing, damaged or has other weights.
  """
  sha256 = state_dict.file_hash(path)
  if path.suffix in (".pth", ".pt", ".ckpt") and sha256 != PUBLISHED_SHA256:
    raise UserError(
      f"{path} is not the Inception of FID: its sha256 is {sha256}, that of "
      f"{PUBLISHED} is {PUBLISHED_SHA256}; docs/evaluate.md says where"
    )
  state = state_dict.read_state(path)
  pool = "pool2048"
  outputs: tuple[str, ...] = ("spatial", "pool2048", "logits_unbiased")
  if not any(name.startswith(("fc.", "Mixed_7")) for name in state):
    pool, outputs = "pool768", ("spatial", "pool768")
  if side != SIDE:
    outputs = tuple(name for name in outputs if name != "spatial")
  module = InceptionV3(outputs, side)
  try:
    params = exactly(module, inception_params(state))
  except UserError as error:
    raise UserError(f"{path} is not the Inception of FID: {error}") from error
  return Inception(module, params, sha256, pool)


def exactly(module: InceptionV3, loaded: dict[str, Any]) -> dict[str, Any]:
  """Checks that `loaded` has all parameters of the module and no others."""
  image = jnp.zeros((1, 32, 32, 3), jnp.uint8)
  shapes = jax.eval_shape(module.init, jax.random.key(0), image)["params"]
  return state_dict.exactly(shapes, loaded)


def inception_params(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """The parameters of `InceptionV3` from a published state dict.

  With s = weight / sqrt(running_var + 1e-3) of the batch normalisation, the
  kernel is s w and the bias is bias - s running_mean. The bias of fc is
  dropped, as the Inception Score is defined without it.

  Args:
    state: published name -> array.

  Returns:
    The parameter tree.

  Raises:
    UserError: a name is unknown, or a layer lacks an array.
  """
  if "conv/weights" in state:
    return _folded(state)
  params = {}
  for name in sorted({key.rsplit(".", 2)[0] for key in state} - {"fc"}):
    try:
      kernel = state[f"{name}.conv.weight"].astype(np.float64)
      weight, bias, mean, variance = (
        state[f"{name}.bn.{leaf}"].astype(np.float64)
        for leaf in ("weight", "bias", "running_mean", "running_var")
      )
    except KeyError as error:
      raise UserError(f"it lacks {error.args[0]}") from None
    sizes = {array.shape for array in (weight, bias, mean, variance)}
    if kernel.ndim != 4 or sizes != {kernel.shape[:1]}:
      raise UserError(f"the arrays of {name} are not those of a convolution")
    scale = weight / np.sqrt(variance + _EPSILON)
    kernel = kernel.transpose(2, 3, 1, 0) * scale
    params[name] = _layer(kernel, bias - mean * scale)
  if "fc.weight" in state:
    params["fc"] = {"kernel": state["fc.weight"].T.astype(np.float32)}
  return params


def _folded(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """The parameters from TensorFlow's names; kernels are HWIO."""
  params = {}
  for key in state:
    name, _, leaf = key.partition("/")
    if leaf != "weights":
      continue
    if f"{name}/bias" not in state:
      raise UserError(f"it lacks {name}/bias")
    params[_renamed(name)] = _layer(state[key], state[f"{name}/bias"])
  return params


def _renamed(name: str) -> str:
  """PyTorch's name of a layer, from TensorFlow's."""
  if name in _STEM:
    return _STEM[name]
  match = re.fullmatch(r"mixed_?(\d*)_((?:conv|tower).*)", name)
  if match and int(match[1] or 0) < len(_MIXED):
    block, branches = _MIXED[int(match[1] or 0)]
    if match[2] in branches:
      return f"{block}.{branches[match[2]]}"
  raise UserError(f"the network has no layer {name} before mixed_8")


def _layer(kernel: np.ndarray, bias: np.ndarray) -> dict[str, np.ndarray]:
  """The parameters of a layer; 1x1 kernels become matrices."""
  if kernel.shape[:2] == (1, 1):
    kernel = kernel[0, 0]
  return {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}
