"""Reads published state dicts and merges them into parameter trees."""

import hashlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file

from lowdiff_jax.models.weights.pickled import read_pickle
from lowdiff_jax.models.weights.torch_file import read_torch
from lowdiff_jax.reading import read_npz, reading
from lowdiff_jax.types import UserError


def read_state(path: Path) -> dict[str, np.ndarray]:
  """Reads a published state dict.

  Args:
    path: a .safetensors or .npz file, PyTorch's .pt, .pth or .ckpt, or EDM's
      .pkl. If any name in an .npz begins with "params/", only such names are
      read, without the prefix. Or a folder with one *encoder.safetensors and
      one *decoder.safetensors, whose names get "encoder." and "decoder." in
      front.

  Returns:
    Published name -> array; bfloat16 arrays have JAX's dtype.

  Raises:
    UserError: the file is missing, unreadable or of another format.
  """
  if path.is_dir():
    return {
      f"{name}.{inner}": array
      for name, part in _halves(path).items()
      for inner, array in read_state(part).items()
    }
  if path.suffix not in _READ:
    raise UserError(f"{path}: expected {', '.join(_READ)} or a folder")
  state = _READ[path.suffix](path)
  for name, array in state.items():
    kind = getattr(array, "dtype", type(array))
    if not isinstance(array, np.ndarray) or not _is_real(array):
      raise UserError(f"{path}: {name} is {kind}, expected an array of numbers")
  return state


def _is_real(array: np.ndarray) -> bool:
  return array.dtype.kind in "fiub" or array.dtype == jnp.bfloat16


def _safetensors(path: Path) -> dict[str, np.ndarray]:
  with reading(path):
    return load_file(path)


def _npz(path: Path) -> dict[str, np.ndarray]:
  # What is text describes the network.
  arrays = {n: x for n, x in read_npz(path).items() if not _is_text(x)}
  marked = [name for name in arrays if name.startswith("params/")]
  return {
    name.removeprefix("params/"): arrays[name] for name in marked or arrays
  }


def _is_text(array: Any) -> bool:
  """Whether it is a text; several of them are no weights."""
  is_array = isinstance(array, np.ndarray)
  return is_array and array.dtype.kind == "U" and array.ndim == 0


_READ = {
  ".safetensors": _safetensors,
  ".npz": _npz,
  ".pkl": read_pickle,
  **dict.fromkeys((".pt", ".pth", ".ckpt"), read_torch),
}


def file_hash(path: Path) -> str:
  """SHA-256 of the file that `read_state` reads.

  Args:
    path: a file; or a folder, for the bytes of its encoder followed by those of
      its decoder.

  Returns:
    64 hexadecimal digits.

  Raises:
    UserError: a file cannot be read.
  """
  digest = hashlib.sha256()
  for part in _halves(path).values() if path.is_dir() else [path]:
    try:
      with part.open("rb") as file:
        hashlib.file_digest(file, lambda: digest)
    except OSError as error:
      raise UserError(f"{part} cannot be read: {error}") from error
  return digest.hexdigest()


def _halves(folder: Path) -> dict[str, Path]:
  """The files of an autoencoder that is published as encoder and decoder."""
  halves = {}
  for name in ("encoder", "decoder"):
    found = sorted(folder.glob(f"*{name}.safetensors"))
    if len(found) != 1:
      raise UserError(
        f"{folder} must hold one *{name}.safetensors; it holds {len(found)}"
      )
    halves[name] = found[0]
  return halves


def overlay(params: dict[str, Any], loaded: dict[str, Any]) -> dict[str, Any]:
  """Replaces parameters of a network by loaded ones.

  Parameters that were not loaded keep their values, and so do trailing input
  channels (those of the condition) that a loaded convolution lacks.

  Args:
    params: initial parameters.
    loaded: a subtree of `params`.

  Returns:
    A tree of the structure of `params`.

  Raises:
    UserError: a loaded parameter is not in `params`, or has another shape.
  """
  leaves = dict(jax.tree_util.tree_leaves_with_path(loaded))
  known = dict(jax.tree_util.tree_leaves_with_path(params))
  for path in leaves.keys() - known.keys():
    raise UserError(f"this network has no parameter {_name(path)}")

  def place(path: Any, ours: np.ndarray) -> np.ndarray:
    theirs = leaves.get(path)
    if theirs is None:
      return ours
    grown = list(ours.shape)
    if len(grown) == 4 and theirs.ndim == 4:
      grown[2] = min(grown[2], theirs.shape[2])
    if tuple(grown) != theirs.shape:
      raise UserError(
        f"parameter {_name(path)} is {theirs.shape} in the file and "
        f"{ours.shape} in this network"
      )
    if theirs.shape == ours.shape:
      return theirs
    return np.concatenate([theirs, ours[:, :, grown[2] :]], axis=2)

  return jax.tree_util.tree_map_with_path(place, params)


def exactly(shapes: Any, loaded: dict[str, Any]) -> dict[str, Any]:
  """Checks that `loaded` has all parameters of a network and no others.

  Args:
    shapes: shapes of the network's parameters (`jax.eval_shape`).
    loaded: loaded parameters.

  Returns:
    `loaded`, in the structure of `shapes`.

  Raises:
    UserError: a parameter is missing, unknown or of another shape.
  """
  unknown = jax.tree.map(lambda s: np.full(s.shape, np.nan, s.dtype), shapes)
  params = overlay(unknown, loaded)
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    if np.isnan(leaf).any():
      raise UserError(f"the file lacks (part of) the parameter {_name(path)}")
  return params


def count(params: dict[str, Any]) -> int:
  """Number of trainable parameters: without fixed Fourier frequencies."""
  leaves = jax.tree_util.tree_leaves_with_path(params)
  return sum(
    int(np.prod(x.shape)) for path, x in leaves if path[-1].key != "freqs"
  )


def names(params: dict[str, Any]) -> set[str]:
  """The names of all parameters in a tree, such as "blocks/attn/qkv/kernel"."""
  leaves = jax.tree_util.tree_leaves_with_path(params)
  return {_name(path) for path, _ in leaves}


def _name(path: Any) -> str:
  return jax.tree_util.keystr(path, simple=True, separator="/")
