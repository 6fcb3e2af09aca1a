"""Zip files that are valid but odd, and npz files of odd arrays."""

import io
import json
import random
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_DATE = (2024, 1, 1, 0, 0, 0)
_NAMES = ("../{}", "/{}", "a/../../{}", "C:\\{}", "{}\0x", "{}\n", "é{}", "")
_METHODS = (
  zipfile.ZIP_STORED,
  zipfile.ZIP_DEFLATED,
  zipfile.ZIP_BZIP2,
  zipfile.ZIP_LZMA,
)


def write_zip(
  rng: random.Random, path: Path, members: Mapping[str, bytes]
) -> None:
  """Writes members; in a third of the cases something of the zip is odd."""
  odd = rng.random() < 0.35
  method = rng.choice(_METHODS) if odd else zipfile.ZIP_STORED
  with zipfile.ZipFile(path, "w", method) as archive:
    for name, data in members.items():
      if odd and rng.random() < 0.1:
        name = rng.choice(_NAMES).format(name)
      copies = 2 if odd and rng.random() < 0.05 else 1
      for _ in range(copies):
        archive.writestr(zipfile.ZipInfo(name, _DATE), data, method)
  if odd and rng.random() < 0.5:
    path.write_bytes(_changed_header(rng, path.read_bytes()))


def _changed_header(rng: random.Random, data: bytes) -> bytes:
  """Encrypted, of an unknown method, or of another size, says its header."""
  changed = bytearray(data)
  # Offsets of fields in the local header and in the central directory.
  flags, method, size = rng.choice(((6, 8, 22), (8, 10, 24)))
  magic = b"PK\x03\x04" if flags == 6 else b"PK\x01\x02"
  places = [i for i in range(len(data)) if data.startswith(magic, i)]
  if places:
    at = rng.choice(places)
    kind = rng.randrange(4)
    if kind == 0:
      changed[at + flags] |= rng.choice((1, 32, 64))
    elif kind == 1:
      changed[at + method] = rng.choice((1, 6, 9, 12, 14, 93, 99))
    elif kind == 2:
      value = rng.choice((0, 1, 2**31, 2**32 - 1))
      changed[at + size : at + size + 4] = value.to_bytes(4, "little")
    else:
      changed[at + 4] = rng.choice((0, 63, 255))  # Version that is needed.
  return bytes(changed)


def npy(array: np.ndarray, **header: Any) -> bytes:
  """An .npy file whose header may say something else than is so."""
  file = io.BytesIO()
  if not header:
    np.save(file, array, allow_pickle=True)
    return file.getvalue()
  described = {
    "descr": np.lib.format.dtype_to_descr(array.dtype),
    "fortran_order": False,
    "shape": array.shape,
    **header,
  }
  text = (repr(described) + "\n").encode("latin1", "replace")
  version = b"\x93NUMPY\x01\x00"
  length = min(len(text), 65535).to_bytes(2, "little")
  return version + length + text + array.tobytes()


def odd_npy(rng: random.Random, array: np.ndarray) -> bytes:
  """The array in another type or order, or with a header that is wrong."""
  if array.dtype.kind == "U":
    return npy(np.array(rng.choice(("", "{", "[1]", 3, b"{}", None))))
  shape = array.shape
  kinds: tuple[Any, ...] = (
    lambda: npy(array.astype(object)),
    lambda: npy(array.astype("U5")),
    lambda: npy(array.astype(rng.choice((">f4", "<f8", "<f2", "<c8", "?")))),
    lambda: npy(array.astype(rng.choice(("<i8", ">i2", "S3", "<M8[s]")))),
    lambda: npy(np.asfortranarray(array)),
    lambda: npy(np.zeros(3, [("a", "<f4"), ("b", "u1", (2,))])),
    lambda: npy(array[:0]),
    lambda: npy(np.asarray(array.ravel()[:1].sum())),
    lambda: npy(array[None]),
    lambda: npy(array.ravel()),
    lambda: npy(np.full(shape, rng.choice((np.nan, np.inf, -1e300)))),
    lambda: npy(array, shape=rng.choice(_SHAPES)),
    lambda: npy(array, shape=(rng.choice((2**31, 2**40, 2**62)), *shape[1:])),
    lambda: npy(array, descr=rng.choice(_DESCRIPTIONS)),
    lambda: npy(array, fortran_order=rng.choice((True, 1, None, "x"))),
    lambda: npy(array, extra=rng.choice((1, "(" * 300, {}))),
  )
  return rng.choice(kinds)()


_SHAPES: tuple[Any, ...] = (
  (),
  (0,),
  (-1, 2),
  (2**63,),
  (1.5,),
  ("a",),
  None,
  3,
  (1,) * 70,
  (True, 2),
  (2**31, 2**31, 2**31),
)
_DESCRIPTIONS: tuple[Any, ...] = (
  "|O",
  "<V8",
  "<f3",
  "nonsense",
  "",
  "<U99999999",
  [("a", "<f4")],
  [("a",)],
  {"a": 1},
  None,
  ("<f4", (10**9,)),
  "f4,f4",
)


def odd_json(rng: random.Random, value: Any) -> Any:
  """The JSON value with one place of another type, or lacking, or huge."""
  value = json.loads(json.dumps(value))
  nothing: Any = object()
  others: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**31, 2**63, 1e308, float("nan"), "", "a" * 5000),
    *("\n\x1b[31m", [], {}, [[]], {"a": {}}, [1, "a"], nothing),
  )
  if not isinstance(value, dict | list) or rng.random() < 0.05:
    other = rng.choice(others)
    return None if other is nothing else other
  place = value
  while True:
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    if not keys:
      return value
    key = rng.choice(keys)
    inner = place[key]
    if isinstance(inner, dict | list) and inner and rng.random() < 0.8:
      place = inner
      continue
    other = rng.choice(others)
    if other is nothing:
      del place[key]
    else:
      place[key] = other
    return value
