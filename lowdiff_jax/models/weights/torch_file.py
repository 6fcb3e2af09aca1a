"""Reads the state dict of a PyTorch file without executing its code.

`torch.save` writes a zip: the pickle "data.pkl" describes the tensors, and
"data/<key>" holds the elements of their storages. The pickle is read as in
`pickled.py`; only the storages of the network are read.
"""

import collections
import functools
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lowdiff_jax.models.weights import pickled
from lowdiff_jax.reading import reason, refuse_bomb
from lowdiff_jax.types import UserError

# Names under which training scripts save a network, in order of preference.
_NETWORKS = ("ema", "state_dict", "model")


# What the pickle stores for a storage: ("storage", dtype, key).
_Storage = tuple[str, np.dtype, str]


class _Tensor(NamedTuple):
  """A tensor without its elements; see `pickled.tensor`."""

  storage: _Storage
  offset: int
  size: tuple[int, ...]
  stride: tuple[int, ...]


_KNOWN: dict[tuple[str, str], Any] = {
  ("collections", "OrderedDict"): collections.OrderedDict,
  ("argparse", "Namespace"): pickled.Record,
  ("torch._utils", "_rebuild_tensor_v2"): lambda *args: _Tensor(*args[:4]),
  ("torch._utils", "_rebuild_parameter"): lambda data, *unused: data,
  ("torch", "Size"): tuple,
  ("torch", "device"): pickled.Record,
  **pickled.STORAGES,
}


class _Unpickler(pickled.Unpickler):
  """An unpickler that leaves the storages unread."""

  def persistent_load(self, pid: Any) -> _Storage:
    """The description of a storage."""
    return pid[:3]


def read_torch(path: Path) -> dict[str, np.ndarray]:
  """The arrays of a state dict; the EMA weights if a checkpoint has them.

  In a checkpoint it is the entry "ema", "state_dict" or "model", at any depth.
  The prefix "module." of data-parallel training is dropped.

  Args:
    path: a file that PyTorch 1.6 or newer saved.

  Returns:
    Name -> array; bfloat16 arrays have JAX's dtype.

  Raises:
    UserError: the file is damaged, holds no state dict or names anything that
      is not allowed.
  """
  try:
    with path.open("rb") as file:
      if not zipfile.is_zipfile(file):
        raise ValueError("PyTorch 1.6 or newer did not save it")
      with zipfile.ZipFile(file) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
        refuse_bomb(path, unpacked)
        return _read(archive)
  except Exception as error:  # A damaged file can fail in any way.
    raise UserError(f"{path} is not loaded: {reason(error)}") from error


def _read(archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
  """The state dict in a zip; a ValueError if there is none."""
  pickles = [n for n in archive.namelist() if n.endswith("/data.pkl")]
  if len(pickles) != 1:
    raise ValueError("torch.save did not write it")
  root = pickles[0].removesuffix("data.pkl")
  file = io.BytesIO(archive.read(pickles[0]))
  network = _network(_Unpickler(file, _KNOWN).load())
  read = _storages(archive, root)
  state = {
    name.removeprefix("module."): pickled.tensor(read(t.storage), *t[1:])
    for name, t in network.items()
    if isinstance(t, _Tensor)
  }
  if not state:
    raise ValueError("it holds no state dict")
  return state


def _network(content: Any) -> dict[str, Any]:
  """The state dict of the network in a checkpoint, descending into entries."""
  if not isinstance(content, dict):
    raise ValueError("it holds no state dict")
  for name in _NETWORKS:
    if isinstance(content.get(name), dict):
      return _network(content[name])
  return content


def _storages(
  archive: zipfile.ZipFile, root: str
) -> Callable[[_Storage], np.ndarray]:
  """A cached function from the description of a storage to its array [N]."""
  order = root + "byteorder"  # Older files lack it and are "little".
  swapped = order in archive.namelist() and archive.read(order) == b"big"

  @functools.cache
  def read(storage: _Storage) -> np.ndarray:
    _, kind, key = storage
    if kind not in pickled.STORAGES.values():
      raise ValueError(f"unknown storage class {kind}")
    numbers = np.frombuffer(archive.read(f"{root}data/{key}"), kind)
    return numbers.byteswap() if swapped else numbers

  return read
