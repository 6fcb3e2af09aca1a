"""PyTorch's files and EDM's pickles, among them hostile ones."""

import io
import os
import pickle
import random
import struct
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from launch.fuzz.archives import write_zip
from launch.fuzz.damage import damage_file, damaged
from launch.fuzz.reader import Reader
from launch.fuzz.readers.weights import GOLDEN
from lowdiff_jax.models.weights import edm_layout, state_dict


class Calls:
  """An object whose pickle calls a function."""

  def __init__(self, function: Any, *args: Any) -> None:
    self._call = function, args

  def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
    """What is called."""
    return self._call


def _tensor(numel: bytes, size: bytes, stride: bytes) -> bytes:
  """The pickle of {"a": tensor} of torch's zip format, of one storage."""
  storage = b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\x000X\3\0\0\0cpu"
  storage += numel + b"tQ"
  build = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\0"
  build += size + stride + b"\x89ccollections\nOrderedDict\n)RtR"
  return b"\x80\2}X\1\0\0\0a" + build + b"s."


def _long(value: int) -> bytes:
  return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)


def hostile(rng: random.Random) -> bytes:
  """A pickle that wants to run code, to fill the memory or never to end."""
  doubling = b"K\1" + b"".join(
    b"2\x86q" + bytes([i]) for i in range(rng.choice((5, 30, 60, 200)))
  )
  nested = rng.choice((100, 5000, 300_000))
  big = rng.choice((2**20, 2**31, 2**40, 2**62))
  where = rng.choice((2**16, 2**28, 2**31 - 1))
  kinds = (
    lambda: pickle.dumps({"ema": Calls(os.system, "true")}),
    lambda: pickle.dumps({"ema": Calls(eval, "1/0")}),
    lambda: b"cbuiltins\neval\n(X\3\0\0\x001/0tR.",
    lambda: b"\x80\4\x8c\2os\x8c\6system\x93\x8c\4true\x85R.",
    lambda: b"ctorch\nFloatStorage\n)R.",
    lambda: b"ctorch._utils\n_rebuild_parameter\n)R.",
    lambda: b"ctorch.storage\n_load_from_bytes\n(C\1.tR.",
    lambda: b"\x80\4}" + doubling + b"K\1s.",  # As the key of a dict.
    lambda: b"\x80\4}K\1" + doubling + b"s.",
    lambda: b"\x80\4(" + doubling + b"\x91.",  # In a frozenset.
    lambda: b"\x80\4cbuiltins\nset\n(](" + doubling + b"etR.",
    lambda: b"\x80\4" + b"]" * nested + b"a" * (nested - 1) + b".",
    lambda: b"\x80\4" + b"(" * nested + b"t" * nested + b".",
    lambda: b"\x80\4K\1r" + struct.pack("<I", where) + b".",
    lambda: b"\x80\4K\1p" + str(where).encode() + b"\n.",
    lambda: b"\x80\4\x8e" + struct.pack("<Q", big) + b"abc.",
    lambda: b"\x80\4\x8d" + struct.pack("<Q", big) + b"abc.",
    lambda: b"\x80\5\x96" + struct.pack("<Q", big) + b"abc.",
    lambda: b"\x80\4\x95" + struct.pack("<Q", big) + b"abc.",
    lambda: b"\x80\2\x8b" + struct.pack("<i", min(big, 2**31 - 1)) + b"a.",
    lambda: b"I" + b"9" * rng.choice((5, 5000, 1_000_000)) + b"\n.",
    lambda: _tensor(b"K\4", b"K\2\x85", b"K\1\x85"),
    lambda: _tensor(b"K\4", _long(big) + b"\x85", b"K\0\x85"),
    lambda: _tensor(b"K\4", _long(-big) + b"\x85", b"K\1\x85"),
    lambda: _tensor(b"K\4", _long(big) * 2 + b"\x86", b"K\0K\0\x86"),
    lambda: _tensor(_long(big), b"K\0\x85", b"K\1\x85"),
    lambda: _tensor(b"K\4", doubling + b"\x85", b"K\1\x85"),
    lambda: _tensor(b"K\4", b"K\2\x85", b"K\1K\1\x86"),
    lambda: _tensor(b"K\4", b"X\1\0\0\0a\x85", b"G" + bytes(8) + b"\x85"),
    lambda: b"\x80\4}q\0X\3\0\0\0emah\0s.",  # A dict that holds itself.
    lambda: pickle.dumps({"ema": {"state_dict": {"a": 1}}}),
  )
  return rng.choice(kinds)()


class _Pickle(Reader):
  """A golden file, damaged, or a hostile pickle."""

  golden: ClassVar[str]
  suffixes: ClassVar[tuple[str, ...]]

  def __init__(self, seeds: Path) -> None:
    super().__init__(seeds)
    self._data = (GOLDEN / self.golden).read_bytes()

  def content(self, rng: random.Random) -> bytes:
    """The bytes of a file."""
    raise NotImplementedError

  def make(self, rng: random.Random, folder: Path) -> Path:
    """A file."""
    path = folder / f"weights{rng.choice(self.suffixes)}"
    path.write_bytes(self.content(rng))
    if rng.random() < 0.02:
      damage_file(rng, path)
    return path

  def read(self, candidate: Path) -> None:
    """Reads it; what is returned are arrays by name."""
    state = state_dict.read_state(candidate)
    assert all(isinstance(name, str) for name in state)
    assert all(isinstance(array, np.ndarray) for array in state.values())


class Edm(_Pickle):
  """EDM's .pkl."""

  name = "weights.pkl"
  golden = "edm_style.pkl"
  suffixes = (".pkl",)

  def read(self, candidate: Path) -> None:
    """Also places what it holds in a U-Net's tree."""
    super().read(candidate)
    edm_layout.unet_params(state_dict.read_state(candidate))

  def content(self, rng: random.Random) -> bytes:
    """See `_Pickle`."""
    if rng.random() < 0.3:
      return hostile(rng)
    return damaged(rng, self._data)


class Torch(_Pickle):
  """PyTorch's .pt, .pth and .ckpt."""

  name = "weights.pt"
  golden = "torch_checkpoint.pt"
  suffixes = (".pt", ".pth", ".ckpt")

  def content(self, rng: random.Random) -> bytes:
    """See `_Pickle`; the zip, its pickle or a storage is damaged."""
    if rng.random() < 0.3:
      return damaged(rng, self._data)
    with zipfile.ZipFile(io.BytesIO(self._data)) as archive:
      members = {name: archive.read(name) for name in archive.namelist()}
    described = next(name for name in members if name.endswith("data.pkl"))
    kind = rng.random()
    if kind < 0.5:
      members[described] = damaged(rng, members[described])
    elif kind < 0.8:
      members[described] = hostile(rng)
    else:
      name = rng.choice(list(members))
      members[name] = damaged(rng, members[name])
    path = self.seeds / "file.pt"
    write_zip(rng, path, members)
    return path.read_bytes()


READERS: tuple[type[Reader], ...] = (Edm, Torch)
