"""Files that may be damaged: whatever is wrong with one is a UserError.

Zip, pickle, image, array and JSON readers raise errors of two dozen types at
damaged bytes, zlib.error, RecursionError and MemoryError among them; no list of
them is complete.
"""

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lowdiff_jax import buckets
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.types import UserError

# A file that unpacks to more than this many times its size, and more than this
# many bytes, is made to fill the memory: floats hardly compress.
_RATIO, _UNPACKED = 100, 1 << 30


@contextlib.contextmanager
def reading(path: AnyPath, way_out: str = "") -> Iterator[None]:
  """Turns any error into a UserError that names the file.

  Args:
    path: of the file.
    way_out: what the user can do, if that is not plain.

  Raises:
    UserError: the body failed; one of its own passes as it is.
  """
  try:
    yield
  except (UserError, jax.errors.JaxRuntimeError):
    raise  # A device without memory is not the file's fault.
  except Exception as error:
    end = f"; {way_out}" if way_out else ""
    raise UserError(f"{path} cannot be read ({reason(error)}){end}") from error


def reason(error: Exception) -> str:
  """Why, in a line: the first of the error's text, or what it means."""
  if isinstance(error, MemoryError):
    return "it needs more memory than there is"
  if isinstance(error, RecursionError):
    return "it is nested too deeply"
  if isinstance(error, KeyError) and error.args:
    return f"it lacks {error.args[0]}"
  if fault := buckets.fault(error):
    return fault.reason
  if isinstance(error, OSError) and error.strerror:
    return error.strerror
  if isinstance(error, FileNotFoundError):  # In a bucket.
    return os.strerror(errno.ENOENT)
  lines = str(error).strip().splitlines()
  return lines[0] if lines else type(error).__name__


def read_json(path: AnyPath, way_out: str = "") -> Any:
  """The value of a JSON file; see `reading` for errors."""
  with reading(path, way_out):
    return json.loads(path.read_text())


def read_npz(path: Path, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
  """The arrays of an .npz, which cannot hold objects.

  Args:
    path: the file.
    without: names that are not read.

  Returns:
    Name -> array.

  Raises:
    UserError: it is missing, damaged, or would fill the memory.
  """
  with reading(path):
    file = np.load(path, allow_pickle=False)
    if not isinstance(file, np.lib.npyio.NpzFile):  # But an .npy.
      raise UserError(f"{path} cannot be read (it is no .npz)")
    with file:
      members: Any = file.zip
      size = sum(member.file_size for member in members.infolist())
      refuse_bomb(path, size)
      arrays = {name: file[name] for name in file.files if name not in without}
    for name, array in arrays.items():
      if not isinstance(array, np.ndarray):  # But the bytes of another file.
        raise ValueError(f"{name} in it is no array")
  return arrays


def refuse_bomb(path: Path, unpacked: int) -> None:
  """Raises UserError if a file unpacks to too many bytes for its size."""
  if unpacked > max(_UNPACKED, _RATIO * path.stat().st_size):
    raise UserError(
      f"{path} cannot be read (it would unpack to {unpacked >> 20} MiB, more "
      f"than {_RATIO} times its size)"
    )
