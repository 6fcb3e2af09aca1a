"""Places published arrays in a tree of parameters, and takes them out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lowdiff_jax.types import UserError

_DEEPEST = 50


def place(params: dict[str, Any], path: Sequence[str], array: Any) -> None:
  """Sets params[path[0]][path[1]]... to an array, as float32.

  Args:
    params: the tree; branches that it lacks are made.
    path: names of modules and of the parameter.
    array: of numbers.

  Raises:
    UserError: another name makes an array of what is a module by this one, or
      modules are nested too deeply.
  """
  if len(path) > _DEEPEST:
    raise UserError(f"parameter {'/'.join(path)} is nested too deeply")
  *modules, leaf = path
  branch = params
  for module in modules:
    branch = branch.setdefault(module, {})
    if not isinstance(branch, dict):
      break
  if not isinstance(branch, dict) or isinstance(branch.get(leaf), dict):
    raise UserError(f"the file has {'/'.join(path)} as a module and an array")
  branch[leaf] = array.astype(np.float32)


def leaves(
  params: Mapping[str, Any],
) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
  """The path and the array of each parameter of a tree; see `place`."""
  for name, value in params.items():
    if isinstance(value, Mapping):
      for path, array in leaves(value):
        yield (name, *path), array
    else:
      yield (name,), np.asarray(value)


def our_layout(leaf: str, array: Any) -> tuple[str, Any]:
  """A weight of PyTorch's: "scale" if it is [C], else a transposed "kernel".

  Args:
    leaf: name of the parameter; others than "weight" stay as they are.
    array: OIHW or [out, in].

  Returns:
    Our name, and the array as HWIO or [in, out].
  """
  if leaf != "weight":
    return leaf, array
  if array.ndim == 1:
    return "scale", array
  return "kernel", array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T


def published_layout(leaf: str, array: Any) -> tuple[str, Any]:
  """The inverse of `our_layout`."""
  if leaf not in ("scale", "kernel"):
    return leaf, array
  return "weight", array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
