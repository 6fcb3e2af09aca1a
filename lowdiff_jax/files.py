"""Files that are written completely or not at all, and their checksums."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
  """Yields a path to write to, which replaces `path` once that succeeded.

  Args:
    path: of the file; its folder must exist.

  Yields:
    A path in the same folder.
  """
  partial = path.with_name(f"{path.name}.partial")
  try:
    yield partial
  except BaseException:
    partial.unlink(missing_ok=True)
    raise
  os.replace(partial, path)


def write_text(path: Path, text: str) -> None:
  """Writes a text file atomically."""
  with replacing(path) as partial:
    partial.write_text(text)


def write_json(path: Path, value: Any, indent: int = 2) -> None:
  """Writes `value` as JSON atomically."""
  write_text(path, json.dumps(value, indent=indent) + "\n")


def sha256(path: Path) -> str:
  """SHA-256 of a file's bytes, in hex."""
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()
