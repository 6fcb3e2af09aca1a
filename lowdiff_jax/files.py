"""Files that are written completely or not at all, and their checksums.

A disk that is full or broken is a DiskError here: one line that names the path.
"""

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lowdiff_jax.types import UserError

# Ends the name of a file that is being written.
PARTIAL = ".partial"

# Faults of a disk, and the way out of each.
_WAYS_OUT = {
  errno.ENOSPC: "free space",
  errno.EDQUOT: "free space, or raise the quota",
  errno.EFBIG: "raise the limit of file sizes (ulimit -f)",
  errno.EROFS: "mount it writable",
  errno.EIO: "check the disk",
}


class DiskError(UserError):
  """A file that cannot be written; what was there before is whole."""


def disk_fault(error: BaseException) -> int | None:
  """The errno of a full or broken disk behind an error; None if it is another.

  Libraries in C++ and Rust report a failed write by its text alone, and others
  raise while they clean up after it.
  """
  seen: list[BaseException] = []
  queue: list[BaseException | None] = [error]
  while queue:
    one = queue.pop(0)
    if one is None or one in seen:
      continue
    seen.append(one)
    if isinstance(one, OSError) and one.errno is not None:
      if one.errno in _WAYS_OUT:
        return one.errno
    else:
      for number in _WAYS_OUT:
        if os.strerror(number) in str(one):
          return number
    if isinstance(one, BaseExceptionGroup):
      queue.extend(one.exceptions)
    queue += [one.__cause__, one.__context__]
  return None


def cannot_write(path: Path | str, error: BaseException) -> DiskError:
  """What to raise for a write that failed."""
  number = disk_fault(error)
  if number is not None:
    reason, way_out = os.strerror(number), _WAYS_OUT[number]
  else:
    reason = str(error).split("\n")[0].split(";")[0]
    way_out = "choose another folder"
    if isinstance(error, OSError):
      reason = error.strerror or reason
  return DiskError(
    f"{path} cannot be written ({reason}): {way_out}; the same command then "
    "goes on"
  )


@contextlib.contextmanager
def writing(path: Path | str) -> Iterator[None]:
  """Turns a write's failure by the disk's fault into a DiskError.

  Args:
    path: what is written, for the message.

  Raises:
    DiskError: an OSError, or a library's own error for the same.
  """
  try:
    yield
  except UserError:
    raise
  except Exception as error:
    if not isinstance(error, OSError) and disk_fault(error) is None:
      raise
    raise cannot_write(path, error) from error


def expanded(path: Path | str) -> Path:
  """A user's path with the home folder for ~.

  Raises:
    UserError: no such user has a home, or the path is no UTF-8, in which the
      libraries that write files take it.
  """
  try:
    found = Path(path).expanduser()
    str(found.absolute()).encode()
  except RuntimeError:
    user = Path(path).parts[0]
    raise UserError(
      f"{path}: there is no home folder {user}; write the whole path"
    ) from None
  except UnicodeEncodeError:
    raise UserError(
      f"{path}: its name, or that of a folder above, is no UTF-8; rename it"
    ) from None
  return found


def make_folder(path: Path) -> None:
  """Makes a folder and those above it, unless they are there."""
  with writing(path):
    path.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
  """Yields a path to write to, which replaces `path` once that succeeded.

  Its name is fixed, so that the next write replaces what a kill has left; two
  processes that may write the same file exclude each other by `locks`.

  Args:
    path: of the file; its folder must exist.

  Yields:
    A path in the same folder.

  Raises:
    DiskError: the disk is full or broken.
  """
  partial = path.with_name(path.name + PARTIAL)
  with writing(path):
    try:
      yield partial
      os.replace(partial, path)
    except BaseException:
      with contextlib.suppress(OSError):
        partial.unlink()
      raise


def write_bytes(path: Path, content: bytes) -> None:
  """Writes a file atomically."""
  with replacing(path) as partial:
    partial.write_bytes(content)


def write_text(path: Path, text: str) -> None:
  """Writes a text file atomically."""
  write_bytes(path, text.encode())


def write_json(path: Path, value: Any, indent: int = 2) -> None:
  """Writes `value` as JSON atomically."""
  write_text(path, json.dumps(value, indent=indent) + "\n")


def sha256(path: Path) -> str:
  """SHA-256 of a file's bytes, in hex."""
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()
