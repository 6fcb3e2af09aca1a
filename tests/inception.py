"""Random weights of the FID Inception, in the ways they are published."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from lowdiff_jax.metrics import inception_weights
from lowdiff_jax.parity import verify_inception
from tests.command_line import REPOSITORY


def published_state(whole: bool = False) -> dict[str, np.ndarray]:
  """By PyTorch's names, up to mixed_7 or all of it."""
  with np.load(REPOSITORY / "tests" / "golden" / "inception_fid.npz") as file:
    config = json.loads(str(file["config"]))
  return {
    name: verify_inception.random_weight(config["seed_prefix"], name, shape)
    for name, shape in config["shapes"].items()
    if whole or not name.startswith(("Mixed_7", "fc"))
  }


def tensorflow_state(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """The same by TensorFlow's names, batch normalisation folded."""
  ours = {theirs: name for name, theirs in inception_weights._STEM.items()}
  for number, (block, branches) in enumerate(inception_weights._MIXED):
    prefix = f"mixed_{number}" if number else "mixed"
    for name, branch in branches.items():
      ours[f"{block}.{branch}"] = f"{prefix}_{name}"
  found = {}
  for layer, name in ours.items():
    bn = {
      leaf: state[f"{layer}.bn.{leaf}"]
      for leaf in ("weight", "bias", "running_mean", "running_var")
    }
    scale = bn["weight"] / np.sqrt(bn["running_var"] + 1e-3)
    kernel = state[f"{layer}.conv.weight"].transpose(2, 3, 1, 0) * scale
    found[f"{name}/weights"] = np.ascontiguousarray(kernel, np.float32)
    bias = bn["bias"] - scale * bn["running_mean"]
    found[f"{name}/bias"] = bias.astype(np.float32)
  return found


def write_trunk(path: Path) -> Path:
  """A file of random weights up to mixed_7."""
  save_file(published_state(), path)
  return path
