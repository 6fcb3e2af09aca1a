"""EMA weights as safetensors: "backbone.enc_8x8_conv.kernel"."""

from typing import Any

import jax
import numpy as np
from safetensors.numpy import load_file, save_file

from lowdiff_jax import console, files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.reading import reading
from lowdiff_jax.types import UserError

WEIGHTS = "model.safetensors"


def write(params: Any, path: AnyPath) -> None:
  """Writes a tree of arrays, completely or not at all."""
  arrays = {
    name: np.ascontiguousarray(array)
    for name, array in _flat(jax.device_get(params)).items()
  }
  with files.replacing(path) as partial:
    save_file(arrays, partial)
    partial.chmod(0o644)  # safetensors leaves it to its owner.


def read(path: AnyPath, shapes: Any, told_by: str) -> Any:
  """The tree of arrays of a file.

  Args:
    path: that `write` has written.
    shapes: the tree, on its shardings.
    told_by: what these shapes are from, for messages.

  Returns:
    Arrays on those shardings.

  Raises:
    UserError: the file is damaged, or of other names or shapes.
  """
  with reading(path), console.taking(f"loading {path}"):
    arrays = load_file(files.local(path))
  wanted = _flat(shapes)
  for name in sorted(wanted.keys() | arrays.keys()):
    ours = wanted[name].shape if name in wanted else "absent"
    theirs = arrays[name].shape if name in arrays else "absent"
    if ours != theirs:
      raise UserError(
        f"{path}: {name} is {theirs} there, and {ours} by {told_by}"
      )
  leaves, tree = jax.tree_util.tree_flatten_with_path(shapes)
  return jax.tree_util.tree_unflatten(
    tree,
    [jax.device_put(arrays[_name(at)], leaf.sharding) for at, leaf in leaves],
  )


def _flat(params: Any) -> dict[str, Any]:
  leaves = jax.tree_util.tree_leaves_with_path(params)
  return {_name(path): leaf for path, leaf in leaves}


def _name(path: Any) -> str:
  return jax.tree_util.keystr(path, simple=True, separator=".")
