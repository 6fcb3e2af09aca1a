"""The tensors of a published EDM pickle, without running what it contains.

Unpickling imports and calls whatever a file names. Here every name is looked up
in a list: tensors are rebuilt as numpy arrays by the code below, modules become
records of their state, and any other name is an error.
"""

import collections
import io
import pickle
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import jax.numpy as jnp
import numpy as np

from lowdiff_jax.types import UserError

# PyTorch's kinds of storage -> what numpy calls their numbers.
STORAGES = {
  ("torch", f"{name}Storage"): np.dtype(kind)
  for name, kind in {
    "Float": np.float32,
    "Double": np.float64,
    "Half": np.float16,
    "BFloat16": jnp.bfloat16,
    "Long": np.int64,
    "Int": np.int32,
    "Short": np.int16,
    "Char": np.int8,
    "Byte": np.uint8,
    "Bool": np.bool_,
  }.items()
}
# What torch.save writes before a storage (its legacy format).
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class Record:
  """An object of the file: what it holds, and nothing of what it does."""

  def __init__(self, *unused: Any):
    self.state: dict[str, Any] = {}

  def __setstate__(self, state: Any) -> None:
    self.state = state if isinstance(state, dict) else {}


class _EasyDict(dict):
  """A dict that may be given a state, which it does not need."""

  def __setstate__(self, state: Any) -> None:
    pass


def _module(meta: Any) -> Any:
  record = Record()
  record.__setstate__(meta["state"])
  return record


def tensor(
  storage: np.ndarray, offset: int, size: Any, stride: Any, *unused: Any
) -> np.ndarray:
  """A copy of the part of a storage that is a tensor.

  Args:
    storage: [N].
    offset, size, stride: of the tensor, in elements.

  Returns:
    An array of shape `size`.

  Raises:
    UnpicklingError: the tensor reaches beyond its storage.
  """
  last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
  if 0 in size:
    return np.zeros(size, storage.dtype)
  if min((offset, *stride, *size)) < 0 or last >= storage.size:
    raise pickle.UnpicklingError("a tensor reaches beyond its storage")
  strides = [s * storage.itemsize for s in stride]
  view = np.lib.stride_tricks.as_strided(storage[offset:], size, strides)
  return view.copy()


def _storage(data: bytes) -> np.ndarray:
  """The array in the bytes of a storage."""
  file = io.BytesIO(data)
  header = [Unpickler(file, _ALLOWED).load() for _ in range(3)]
  if header[:2] != [_MAGIC, _PROTOCOL]:
    raise pickle.UnpicklingError("not a storage as torch.save writes it")
  _, kind, _, _, count, *_ = Unpickler(file, _ALLOWED).load()
  if kind not in STORAGES.values():
    raise pickle.UnpicklingError(f"unknown kind of storage {kind}")
  Unpickler(file, _ALLOWED).load()  # The keys: a storage of its own has one.
  (stored,) = struct.unpack("<q", file.read(8))
  return np.frombuffer(file.read(), kind, min(count, stored))


_ALLOWED: dict[tuple[str, str], Any] = {
  ("collections", "OrderedDict"): collections.OrderedDict,
  ("builtins", "set"): set,
  ("dnnlib.util", "EasyDict"): _EasyDict,
  ("torch_utils.persistence", "_reconstruct_persistent_obj"): _module,
  ("torch._utils", "_rebuild_tensor_v2"): tensor,
  ("torch._utils", "_rebuild_parameter"): lambda data, *unused: data,
  ("torch.storage", "_load_from_bytes"): _storage,
  ("torch", "Size"): tuple,
  ("torch", "device"): Record,
}
_ALLOWED |= STORAGES
_ALLOWED |= {
  ("torch.nn.modules.container", name): Record
  for name in ("ModuleDict", "ModuleList", "Sequential")
}


class Unpickler(pickle.Unpickler):
  """Knows the names that it is given and no others.

  Args:
    file: to read from.
    known: (module, name) -> what stands for it here.
  """

  def __init__(self, file: IO[bytes], known: Mapping[tuple[str, str], Any]):
    super().__init__(file)
    self._known = known

  def find_class(self, module: str, name: str) -> Any:
    if (module, name) not in self._known:
      raise pickle.UnpicklingError(
        f"it asks for {module}.{name}, which no published network needs"
      )
    return self._known[module, name]

  def persistent_load(self, pid: Any) -> Any:
    return pid


def read_pickle(path: Path) -> dict[str, np.ndarray]:
  """The state dict of the averaged network ("ema") in a published pickle.

  Args:
    path: of the file.

  Returns:
    Name -> array, parameters and buffers.

  Raises:
    UserError: the file is damaged, or asks for anything but tensors.
  """
  try:
    with path.open("rb") as file:
      content = Unpickler(file, _ALLOWED).load()
    network = content["ema"]
    return dict(_named(network, ""))
  except Exception as error:  # A damaged pickle can fail in any way.
    reason = str(error).split("\n")[0]
    raise UserError(f"{path} is not loaded: {reason}") from error


def _named(record: Any, prefix: str) -> Iterator[tuple[str, np.ndarray]]:
  for kind in ("_parameters", "_buffers"):
    for name, array in record.state[kind].items():
      if array is not None:
        yield prefix + name, array
  for name, module in record.state["_modules"].items():
    yield from _named(module, f"{prefix}{name}.")
