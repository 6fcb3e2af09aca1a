"""Files that are written completely or not at all, and their checksums.

On a disk a file is written beside its place and renamed. In a bucket an object
appears when its upload ends, so it is written to a temporary file and uploaded.
A disk that is full or broken, and a bucket that does not answer, is a DiskError
here: one line that names the path.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lowdiff_jax import buckets
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.reading import reading
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
  for one in buckets.causes(error):
    if isinstance(one, OSError) and one.errno is not None:
      if one.errno in _WAYS_OUT:
        return one.errno
    else:
      for number in _WAYS_OUT:
        if os.strerror(number) in str(one):
          return number
  return None


def is_fault(error: BaseException) -> bool:
  """Whether a disk or a bucket is behind an error."""
  return disk_fault(error) is not None or buckets.fault(error) is not None


def cannot_write(path: AnyPath | str, error: BaseException) -> DiskError:
  """What to raise for a write that failed."""
  number, fault = disk_fault(error), buckets.fault(error)
  what = "read or written" if fault and number is None else "written"
  if number is not None:
    reason, way_out = os.strerror(number), _WAYS_OUT[number]
  elif fault is not None:
    reason, way_out = fault
  else:
    reason = str(error).split("\n")[0].split(";")[0]
    way_out = "choose another folder"
    if isinstance(error, OSError):
      reason = error.strerror or reason
  return DiskError(
    f"{path} cannot be {what} ({reason}): {way_out}; the same command then "
    "goes on"
  )


@contextlib.contextmanager
def writing(path: AnyPath | str) -> Iterator[None]:
  """Turns a write's failure by the disk's or bucket's fault into a DiskError.

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
    if not isinstance(error, OSError) and not is_fault(error):
      raise
    raise cannot_write(path, error) from error


def expanded(path: AnyPath | str) -> AnyPath:
  """A user's path: in a bucket, or on a disk with the home folder for ~.

  Raises:
    UserError: no such user has a home; or the path is of another kind of store,
      or no UTF-8, in which the libraries that write files take it.
  """
  try:
    found = buckets.parse(str(path))
    if found is None:
      found = Path(path).expanduser()
    str(absolute(found)).encode()
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


def absolute(path: AnyPath) -> AnyPath:
  """The path from the root; one in a bucket is that already."""
  return path if buckets.is_in_bucket(path) else Path(path).absolute()


def is_folder(path: AnyPath) -> bool:
  """Whether there is a folder; in a bucket, one with an object in it."""
  if buckets.is_in_bucket(path):
    return buckets.is_folder(path)
  return path.is_dir()


def make_folder(path: AnyPath) -> None:
  """Makes a folder and those above it, unless they are there."""
  if not buckets.is_in_bucket(path):  # Where none need be made.
    with writing(path):
      path.mkdir(parents=True, exist_ok=True)


def remove_folder(path: AnyPath) -> None:
  """Removes a folder and all that is in it, if it is there."""
  if buckets.is_in_bucket(path):
    buckets.remove_folder(path)
  else:
    shutil.rmtree(path, ignore_errors=True)


def copy_of(path: AnyPath) -> Path:
  """Where `local` keeps its copy of what is in a bucket.

  That is below ~/.cache/lowdiff_jax/buckets, or below XDG_CACHE_HOME.
  """
  cache = Path(expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache"))
  return cache / "lowdiff_jax" / "buckets" / buckets.name(path)


def local(path: AnyPath) -> Path:
  """A file on a disk: the file itself, or a copy of an object in a bucket.

  A copy is fetched again if the object has changed.

  Raises:
    UserError: there is no such object; of a file on a disk nothing is checked.
  """
  if not buckets.is_in_bucket(path):
    return Path(path)
  copy = copy_of(path)
  with reading(path):
    buckets.download(path, copy)
  return copy


@contextlib.contextmanager
def replacing(path: AnyPath) -> Iterator[Path]:
  """Yields a path to write to, which replaces `path` once that succeeded.

  On a disk its name is fixed, so that the next write replaces what a kill has
  left; two processes that may write the same file exclude each other by
  `locks`.

  Args:
    path: of the file; its folder must exist.

  Yields:
    A path on a disk; that of the file, if it is on one.

  Raises:
    DiskError: the disk is full or broken, or the bucket cannot be written.
  """
  if buckets.is_in_bucket(path):
    with writing(path), tempfile.TemporaryDirectory() as folder:
      written = Path(folder) / path.name
      yield written
      buckets.upload(written, path)
    return
  partial = Path(path).with_name(path.name + PARTIAL)
  with writing(path):
    try:
      yield partial
      os.replace(partial, path)
    except BaseException:
      with contextlib.suppress(OSError):
        partial.unlink()
      raise


def write_bytes(path: AnyPath, content: bytes) -> None:
  """Writes a file atomically."""
  with replacing(path) as partial:
    partial.write_bytes(content)


def write_text(path: AnyPath, text: str) -> None:
  """Writes a text file atomically."""
  write_bytes(path, text.encode())


def write_json(path: AnyPath, value: Any, indent: int = 2) -> None:
  """Writes `value` as JSON atomically."""
  write_text(path, json.dumps(value, indent=indent) + "\n")


def sha256(path: AnyPath) -> str:
  """SHA-256 of a file's bytes, in hex."""
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()
