"""The manifest of a checkpoint: the sums of its files.

On a disk they are sha256 sums of the bytes. In a bucket they are those that the
store keeps of each object, so that nothing is read back.
"""

import hashlib
import json
from pathlib import Path

from absl import logging

from lowdiff_jax import buckets, files
from lowdiff_jax.buckets import AnyPath

MANIFEST = "manifest.json"


def write_manifest(folder: AnyPath) -> None:
  """Writes the manifest of a complete checkpoint, unless it is there."""
  if not (folder / MANIFEST).exists():
    files.write_bytes(folder / MANIFEST, _content(folder))


def manifest_sha256(folder: AnyPath) -> str:
  """SHA-256 of the manifest, and so of all that is in the checkpoint.

  The same before it is written.
  """
  path = folder / MANIFEST
  content = path.read_bytes() if path.exists() else _content(folder)
  return hashlib.sha256(content).hexdigest()


def damaged_file(folder: AnyPath, part: str = "") -> AnyPath | None:
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
  kept = buckets.sums(folder) if buckets.is_in_bucket(folder) else {}
  for name, wanted in json.loads(path.read_text()).items():
    # Earlier versions summed the manifest that a kill had left unfinished.
    if not name.startswith(part) or name.endswith(files.PARTIAL):
      continue
    # A checkpoint may have been copied from a disk to a bucket, or back.
    if kept.get(name) == wanted:
      continue
    file = folder / name
    if name.startswith("/") or ".." in name.split("/"):
      return path  # Such a file is not of the checkpoint.
    if not file.exists() or not _is_as_summed(file, wanted):
      return file
  return None


def _is_as_summed(file: AnyPath, wanted: str) -> bool:
  """Whether a file has a sum that is not the store's own of it."""
  kind, _, digest = wanted.rpartition(":")
  if not kind:
    return files.sha256(file) == digest
  if buckets.is_in_bucket(file):
    return False
  if kind == "crc32c":  # Python has none.
    return True
  return buckets.md5(Path(file)) == digest


def _content(folder: AnyPath) -> bytes:
  sums = _bucket_sums if buckets.is_in_bucket(folder) else _sha256_sums
  return (json.dumps(sums(folder), indent=1) + "\n").encode()


def _bucket_sums(folder: AnyPath) -> dict[str, str]:
  found = buckets.sums(folder)
  return {name: found[name] for name in sorted(found) if name != MANIFEST}


def _sha256_sums(folder: AnyPath) -> dict[str, str]:
  return {
    str(path.relative_to(Path(folder))): files.sha256(path)
    for path in sorted(Path(folder).rglob("*"))
    if path.is_file() and not path.name.endswith(files.PARTIAL)
  }
