"""Maps published weights of LightningDiT to `dit.LightningDiT`."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lowdiff_jax.models import position
from lowdiff_jax.models.weights.tree import our_layout, place
from lowdiff_jax.types import UserError

# Parts of published names -> our names.
_OURS = {
  "adaLN_modulation.1": "adaLN",
  "t_embedder.mlp.0": "t_embedder.mlp_0",
  "t_embedder.mlp.2": "t_embedder.mlp_2",
  "x_embedder.proj": "x_embedder",
  "y_embedder.embedding_table.weight": "y_embedder.embedding",
}


def dit_params(
  state: Mapping[str, np.ndarray], input_size: int
) -> dict[str, Any]:
  """The parameters of `dit.LightningDiT` from LightningDiT's state dict.

  Matrices [out, in] become [in, out], and "blocks.3.attn.qkv.weight" becomes
  row 3 of blocks/attn/qkv/kernel. Position tables in the state dict are
  compared with ours and dropped.

  Args:
    state: published name -> array.
    input_size: side of the largest grid, in tokens.

  Returns:
    The parameter tree.

  Raises:
    UserError: a position table differs from ours, or a block lacks a parameter.
  """
  tables = _check_tables(state, input_size)
  params: dict[str, Any] = {}
  stacks: dict[str, dict[int, np.ndarray]] = {}
  for name, array in state.items():
    in_block = re.fullmatch(r"blocks\.(\d{1,4})\.(.+)", name)
    if in_block:
      stacks.setdefault(in_block[2], {})[int(in_block[1])] = array
    elif name not in tables:
      place(params, *_translate(name, array))
  depth = 1 + max((max(stack) for stack in stacks.values()), default=-1)
  for name, stack in stacks.items():
    paths, rows = zip(
      *(_translate(name, _row(stack, i, name)) for i in range(depth)),
      strict=True,
    )
    place(params, ["blocks", *paths[0]], np.stack(rows))
  return params


def _row(stack: Mapping[int, np.ndarray], index: int, name: str) -> np.ndarray:
  """The array of block `index`; all blocks' arrays must have one shape."""
  name = f"parameter blocks.{index}.{name}"
  if index not in stack:
    raise UserError(f"the file lacks the {name}")
  shape, usual = stack[index].shape, stack[min(stack)].shape
  if shape != usual:
    raise UserError(f"{name} is {shape} in the file, and {usual} elsewhere")
  return stack[index]


def _translate(name: str, array: np.ndarray) -> tuple[list[str], np.ndarray]:
  """The path in our parameter tree, and the array in our layout."""
  for theirs, ours in _OURS.items():
    name = name.replace(theirs, ours)
  *modules, leaf = name.split(".")
  leaf, array = our_layout(leaf, array)
  return [*modules, leaf], array


def _check_tables(state: Mapping[str, np.ndarray], input_size: int) -> set[str]:
  """Compares the position tables of a state dict; returns their names."""
  positions = np.arange(input_size)

  def rotary(features: int) -> list[np.ndarray]:
    tables = position.rotary_table(positions, features)
    return [np.repeat(table[:, 0], 2, axis=1) for table in tables]

  tables: dict[str, Callable[[int], np.ndarray]] = {
    "pos_embed": lambda features: position.sincos_table(positions, features)[
      None
    ],
    "feat_rope.freqs_cos": lambda features: rotary(features)[0],
    "feat_rope.freqs_sin": lambda features: rotary(features)[1],
  }
  for name in tables.keys() & state.keys():
    theirs = state[name]
    ours = tables[name](theirs.shape[-1] if theirs.ndim else 0)
    # The EMA of a constant drifts by its rounding errors.
    if theirs.shape != ours.shape or not np.allclose(theirs, ours, atol=0.01):
      raise UserError(
        f"{name} {theirs.shape} of the file is not that of a grid of "
        f"{input_size}x{input_size} tokens: its network is for another input "
        "or patch size"
      )
  return set(tables)
