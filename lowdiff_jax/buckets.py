"""Paths in a bucket, `gs://BUCKET/...`, beside those on a disk.

etils.epath reads and writes them by fsspec and gcsfs, which retry requests
that failed for a while. An object appears when all of it has been uploaded, or
not at all. There is no rename, no appending and no folder without an object.
"""

import base64
import hashlib
import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import fsspec
from etils import epath

from lowdiff_jax.types import UserError

# On a disk or in a bucket.
AnyPath: TypeAlias = Path | epath.Path

_SCHEME = "gs://"
# What other processes write is to be seen at once. And the type of a bucket is
# not asked for: that needs a permission of its own.
fsspec.config.conf.setdefault("gcs", {}).setdefault("use_listings_cache", False)
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")


class Fault(NamedTuple):
  """Why a bucket does not do what it was asked, and the way out."""

  reason: str
  way_out: str


_LOGIN = "log in (gcloud auth application-default login)"
_GRANT = "grant the account roles/storage.objectUser of the bucket"
_NO_BUCKET = Fault("there is no such bucket", "make it, or name another")
_NO_CREDENTIALS = Fault("no credentials", _LOGIN)
_FORBIDDEN = Fault("not allowed", _GRANT)
_NO_ANSWER = Fault("it does not answer", "check the network")
# Libraries whose errors mean that no answer came.
_NETWORK = ("aiohttp", "requests", "urllib3")
# TensorStore reports by text alone, with the address or the client that failed.
_STATUS = re.compile(r"\b([A-Z_]{5,}): .*(gs://|https?://|CURL)", re.DOTALL)
_OF_STATUS = {
  "UNAUTHENTICATED": _NO_CREDENTIALS,
  "PERMISSION_DENIED": _FORBIDDEN,
  "UNAVAILABLE": _NO_ANSWER,
  "DEADLINE_EXCEEDED": _NO_ANSWER,
  "ABORTED": _NO_ANSWER,
}
_OF_CODE = {"401": _NO_CREDENTIALS, "403": _FORBIDDEN, "404": _NO_BUCKET}


def parse(text: str) -> epath.Path | None:
  """The path that a text names in a bucket; None if it names none.

  Raises:
    UserError: it is of another kind of store, or gcsfs is not installed.
  """
  scheme, found, rest = text.partition("://")
  if not found:
    return None
  if f"{scheme}://" != _SCHEME or not rest.strip("/"):
    raise UserError(f"{text}: expected a path on a disk or gs://BUCKET/PATH")
  if importlib.util.find_spec("gcsfs") is None:
    raise UserError(f"{text}: buckets need gcsfs; pip install gcsfs")
  return epath.Path(text)


def is_in_bucket(path: AnyPath) -> bool:
  """Whether a path is in a bucket."""
  return str(path).startswith(_SCHEME)


def name(path: AnyPath) -> str:
  """BUCKET/PATH of a path in a bucket."""
  return str(path).removeprefix(_SCHEME)


def file_system() -> Any:
  """The fsspec file system of all buckets."""
  return fsspec.filesystem("gcs")


def is_folder(path: AnyPath) -> bool:
  """Whether there is an object below the path.

  Unlike `epath.Path.is_dir` it raises if the bucket does not answer.
  """
  try:
    return bool(file_system().ls(str(path)))
  except FileNotFoundError:
    return False


def remove_folder(path: AnyPath) -> None:
  """Removes all objects below the path, if there are any."""
  if is_folder(path):
    file_system().rm(str(path), recursive=True)


def sums(folder: AnyPath) -> dict[str, str]:
  """The sums that the store keeps of the objects below a folder.

  Args:
    folder: in a bucket; no object is read.

  Returns:
    Name in the folder -> "md5:" or "crc32c:" and the sum in base64.
  """
  found = file_system().find(str(folder), detail=True)
  prefix = str(folder).removeprefix(_SCHEME) + "/"
  return {name.removeprefix(prefix): _sum(info) for name, info in found.items()}


def _sum(info: dict[str, Any]) -> str:
  # An object that was composed of parts has no MD5.
  if "md5Hash" in info:
    return f"md5:{info['md5Hash']}"
  return f"crc32c:{info['crc32c']}"


def download(path: AnyPath, copy: Path) -> None:
  """Fetches an object, unless the copy is of its generation.

  Args:
    path: of the object.
    copy: gets its bytes, with the size and the MD5 that the store keeps.

  Raises:
    OSError: there is no such object, or it was damaged on the way.
  """
  info = file_system().info(str(path))
  if info["type"] != "file":
    raise OSError("it is a folder in a bucket; copy it to a disk")
  generation = str(info["generation"])
  known = copy.with_name(f"{copy.name}.generation")
  if copy.is_file() and known.is_file() and known.read_text() == generation:
    return
  copy.parent.mkdir(parents=True, exist_ok=True)
  # Processes of a host may fetch it at once.
  partial = copy.with_name(f"{copy.name}.{os.getpid()}")
  try:
    file_system().get_file(str(path), str(partial))
    if _damaged(partial, info):
      raise OSError("it was damaged on the way")
    known.unlink(missing_ok=True)
    os.replace(partial, copy)
    known.write_text(generation)
  finally:
    partial.unlink(missing_ok=True)


def _damaged(copy: Path, info: dict[str, Any]) -> bool:
  if copy.stat().st_size != info["size"]:
    return True
  return info.get("md5Hash") not in (None, md5(copy))


def md5(path: Path) -> str:
  """MD5 of a file's bytes in base64, as the store keeps it of an object."""
  with path.open("rb") as file:
    digest = hashlib.file_digest(file, "md5").digest()
  return base64.b64encode(digest).decode()


def upload(local: Path, path: AnyPath) -> None:
  """Uploads a file; the object appears when all of it is there."""
  file_system().put_file(str(local), str(path))


def causes(error: BaseException) -> Iterator[BaseException]:
  """An error, and those that it was raised for or while cleaning up after."""
  seen: list[BaseException] = []
  queue: list[BaseException | None] = [error]
  while queue:
    one = queue.pop(0)
    if one is None or one in seen:
      continue
    seen.append(one)
    yield one
    if isinstance(one, BaseExceptionGroup):
      queue.extend(one.exceptions)
    queue += [one.__cause__, one.__context__]


def fault(error: BaseException) -> Fault | None:
  """The fault of a bucket behind an error; None if it is another."""
  return next(filter(None, map(_fault, causes(error))), None)


def is_away(error: BaseException) -> bool:
  """Whether a bucket that does not answer is behind an error."""
  return fault(error) == _NO_ANSWER


def _fault(error: BaseException) -> Fault | None:
  library = type(error).__module__.partition(".")[0]
  text = str(error)
  if library in _NETWORK:
    return _NO_ANSWER
  if library == "gcsfs":
    other = Fault(text.split("\n")[0], "see what the store says")
    return _OF_CODE.get(str(getattr(error, "code", None)), other)
  if type(error).__module__ == "google.auth.exceptions":
    return _NO_CREDENTIALS
  if isinstance(error, FileNotFoundError) and "/storage/v1/b/" in text:
    return _NO_BUCKET
  if isinstance(error, OSError) and text.startswith("Forbidden: "):
    return _FORBIDDEN
  found = _STATUS.search(text)
  return _OF_STATUS.get(found[1]) if found else None
