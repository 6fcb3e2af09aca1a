"""The manifest of a checkpoint: the sha256 sums of its files."""

import hashlib
import json
from pathlib import Path

from absl import logging

from lowdiff_jax import files

MANIFEST = "manifest.json"


def write_manifest(folder: Path) -> None:
  """Writes the manifest of a complete checkpoint, unless it is there."""
  if not (folder / MANIFEST).exists():
    files.write_bytes(folder / MANIFEST, _content(folder))


def manifest_sha256(folder: Path) -> str:
  """SHA-256 of the manifest, and so of all that is in the checkpoint.

  The same before it is written.
  """
  path = folder / MANIFEST
  content = path.read_bytes() if path.exists() else _content(folder)
  return hashlib.sha256(content).hexdigest()


def damaged_file(folder: Path, part: str = "") -> Path | None:
  """The first file of a checkpoint that is not as in the manifest, if any.

  Args:
    folder: of the checkpoint; nothing is compared without a manifest, and there
      is a warning if all should be.
    part: what the names of the files that are compared begin with.
  """
  path = folder / MANIFEST
  if not path.exists():
    if not part:
      logging.warning("%s has no manifest: its bytes are not checked", folder)
    return None
  for name, digest in json.loads(path.read_text()).items():
    # Earlier versions summed the manifest that a kill had left unfinished.
    if not name.startswith(part) or name.endswith(files.PARTIAL):
      continue
    file = folder / name
    if not file.exists() or files.sha256(file) != digest:
      return file
  return None


def _content(folder: Path) -> bytes:
  sums = {
    str(path.relative_to(folder)): files.sha256(path)
    for path in sorted(folder.rglob("*"))
    if path.is_file() and not path.name.endswith(files.PARTIAL)
  }
  return (json.dumps(sums, indent=1) + "\n").encode()
