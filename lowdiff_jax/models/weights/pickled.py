"""Reads the tensors of EDM's published pickles without executing their code.

Unpickling imports and calls whatever a file names. Here every name is looked up
in an allow list: tensors are rebuilt as numpy arrays by the code below, modules
become records of their state, and any other name is an error.
"""

import collections
import io
import math
import pickle
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import jax.numpy as jnp
import numpy as np

from lowdiff_jax.models.weights.pickle_scan import scan
from lowdiff_jax.reading import reason
from lowdiff_jax.types import UserError

# PyTorch's storage classes -> dtypes.
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
# Header of torch.save's legacy format.
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
# Elements of a tensor that may be more than those of its storage.
_REPEATED = 1 << 20


class Record:
  """The state of an object in the file, without its class."""

  def __init__(self, *unused: Any) -> None:
    self.state: dict[str, Any] = {}

  def __setstate__(self, state: Any) -> None:
    self.state = state if isinstance(state, dict) else {}


class _EasyDict(dict):
  """A dict that ignores the state that its pickle sets."""

  def __setstate__(self, state: Any) -> None:
    pass


def _module(meta: Mapping[str, Any]) -> Record:
  """The state of a module that EDM's `persistence` pickled."""
  record = Record()
  record.__setstate__(meta["state"])
  return record


def tensor(
  storage: np.ndarray,
  offset: int,
  size: Sequence[int],
  stride: Sequence[int],
  *unused: Any,
) -> np.ndarray:
  """Copies a tensor from its storage.

  Args:
    storage: [N].
    offset, size, stride: of the tensor, in elements.
    *unused: further arguments of PyTorch's pickles.

  Returns:
    An array of shape `size`.

  Raises:
    UnpicklingError: the tensor reaches beyond its storage, or repeats it
      too often.
  """
  last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
  if 0 in size:
    return np.zeros(size, storage.dtype)
  if min((offset, *stride, *size)) < 0 or last >= storage.size:
    raise pickle.UnpicklingError("a tensor reaches beyond its storage")
  if math.prod(size) > max(storage.size, _REPEATED):
    raise pickle.UnpicklingError("a tensor repeats its storage too often")
  strides = [s * storage.itemsize for s in stride]
  view = np.lib.stride_tricks.as_strided(storage[offset:], size, strides)
  return view.copy()


def _storage(data: bytes) -> np.ndarray:
  """The array [N] of a storage that torch.save wrote to bytes."""
  file = io.BytesIO(data)
  header = [Unpickler(file, _ALLOWED).load() for _ in range(3)]
  if header[:2] != [_MAGIC, _PROTOCOL]:
    raise pickle.UnpicklingError("not a storage as torch.save writes it")
  _, kind, _, _, count, *_ = Unpickler(file, _ALLOWED).load()
  if kind not in STORAGES.values():
    raise pickle.UnpicklingError(f"unknown storage class {kind}")
  Unpickler(file, _ALLOWED).load()  # The keys of the storages: one here.
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
  """An unpickler with an allow list of names."""

  def __init__(
    self, file: IO[bytes], known: Mapping[tuple[str, str], Any]
  ) -> None:
    """Opens a file.

    Args:
      file: to read from, which can seek.
      known: (module, name) -> what replaces it.
    """
    super().__init__(file)
    self._file, self._known = file, known

  def load(self) -> Any:
    """The object; an UnpicklingError if it is not safe to load."""
    scan(self._file)
    return super().load()

  def find_class(self, module: str, name: str) -> Any:
    """The replacement of a name; an UnpicklingError if it is not allowed."""
    if (module, name) not in self._known:
      raise pickle.UnpicklingError(
        f"it asks for {module}.{name}, which no published network needs"
      )
    return self._known[module, name]

  def persistent_load(self, pid: Any) -> Any:
    """Returns the id itself, as torch.save's legacy format needs no lookup."""
    return pid


def read_pickle(path: Path) -> dict[str, np.ndarray]:
  """The EMA weights ("ema") in a published pickle.

  Args:
    path: the file.

  Returns:
    Name -> array, parameters and buffers.

  Raises:
    UserError: the file is damaged, or names anything that is not allowed.
  """
  try:
    with path.open("rb") as file:
      content = Unpickler(file, _ALLOWED).load()
    network = content["ema"]
    return dict(_named(network, "", set()))
  except Exception as error:  # A damaged pickle can fail in any way.
    raise UserError(f"{path} is not loaded: {reason(error)}") from error


def _named(
  record: Record, prefix: str, seen: set[int]
) -> Iterator[tuple[str, np.ndarray]]:
  """The names and arrays of a module and its submodules."""
  if id(record) in seen:  # Or there would be no end to it.
    raise pickle.UnpicklingError("a module is part of two others")
  seen.add(id(record))
  for kind in ("_parameters", "_buffers"):
    for name, array in record.state[kind].items():
      if array is not None:
        yield prefix + name, array
  for name, module in record.state["_modules"].items():
    yield from _named(module, f"{prefix}{name}.", seen)
