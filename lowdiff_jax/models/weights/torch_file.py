"""The state dict in a file of PyTorch's, without running what it contains.

`torch.save` writes a zip: a pickle "data.pkl", which describes the tensors, and
their numbers in "data/<key>". The pickle is read as in `pickled.py`; of the
numbers, only those of the network that is asked for.
"""

import collections
import functools
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lowdiff_jax.models.weights import pickled
from lowdiff_jax.types import UserError

# Under what names training scripts save a network, the best one first.
_NETWORKS = ("ema", "state_dict", "model")


class _Tensor(NamedTuple):
  """What the pickle says of a tensor; see `pickled.tensor`."""

  storage: tuple[str, np.dtype, str]
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
  """Takes a storage for what the pickle says of it."""

  def persistent_load(self, pid: Any) -> tuple[str, np.dtype, str]:
    return pid[:3]


def read_torch(path: Path) -> dict[str, np.ndarray]:
  """The arrays of a state dict; of several in a checkpoint, the averaged one.

  A checkpoint may hold it as "ema", "state_dict" or "model", at any depth;
  the "module." in front of a name that parallel training leaves is dropped.

  Args:
    path: of a file that PyTorch 1.6 or newer saved.

  Returns:
    Name -> array; bfloat16 stays that, as JAX has it.

  Raises:
    UserError: the file is damaged, holds no state dict or asks for anything
      but tensors.
  """
  try:
    with path.open("rb") as file:
      if not zipfile.is_zipfile(file):
        raise ValueError("PyTorch 1.6 or newer did not save it")
      with zipfile.ZipFile(file) as archive:
        return _read(archive)
  except Exception as error:  # A damaged file can fail in any way.
    reason = str(error).split("\n")[0]
    raise UserError(f"{path} is not loaded: {reason}") from error


def _read(archive: zipfile.ZipFile) -> Any:
  pickles = [n for n in archive.namelist() if n.endswith("/data.pkl")]
  if len(pickles) != 1:
    raise ValueError("torch.save did not write it")
  root = pickles[0].removesuffix("data.pkl")
  with archive.open(pickles[0]) as file:
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
  """The dict of the network in a checkpoint."""
  if not isinstance(content, dict):
    raise ValueError("it holds no state dict")
  for name in _NETWORKS:
    if isinstance(content.get(name), dict):
      return _network(content[name])
  return content


def _storages(archive: zipfile.ZipFile, root: str) -> Callable:
  """A function from what a pickle says of a storage to its numbers."""
  order = root + "byteorder"  # Missing from older files, which are "little".
  swapped = order in archive.namelist() and archive.read(order) == b"big"

  @functools.cache
  def read(storage: Any) -> np.ndarray:
    _, kind, key = storage
    if kind not in pickled.STORAGES.values():
      raise ValueError(f"unknown kind of storage {kind}")
    numbers = np.frombuffer(archive.read(f"{root}data/{key}"), kind)
    return numbers.byteswap() if swapped else numbers

  return read
