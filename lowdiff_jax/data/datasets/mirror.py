"""TFDS's sets in a bucket: each host prepares or fetches a copy on its disk.

ArrayRecord's readers and writers take files on a disk alone.
"""

from pathlib import Path

from lowdiff_jax import buckets, files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.data.images import reading_threads

# TFDS writes it last, and so does `keep`: without it a set is not prepared.
INFO = "dataset_info.json"


def is_needed(data_dir: str) -> bool:
  """Whether TFDS's folder is in a bucket."""
  return buckets.is_in_bucket(files.expanded(data_dir))


def folder(data_dir: str) -> str:
  """The folder on a disk for that of the config."""
  if not is_needed(data_dir):
    return data_dir
  return str(files.copy_of(files.expanded(data_dir)))


def fetch(set_folder: str, data_dir: str) -> bool:
  """Fetches a set that is in the bucket; whether there is one.

  Args:
    set_folder: of the set on the disk.
    data_dir: in a bucket.
  """
  there = _in_bucket(set_folder, data_dir)
  if not (there / INFO).exists():
    return False
  for _ in reading_threads().map(files.local, list(there.iterdir())):
    pass
  return True


def keep(set_folder: str, data_dir: str) -> None:
  """Uploads a set that was prepared on the disk, unless it is in the bucket."""
  there = _in_bucket(set_folder, data_dir)
  if (there / INFO).exists():
    return
  for path in sorted(Path(set_folder).iterdir(), key=lambda p: p.name == INFO):
    with files.writing(there / path.name):
      buckets.upload(path, there / path.name)


def _in_bucket(set_folder: str, data_dir: str) -> AnyPath:
  inner = Path(set_folder).relative_to(folder(data_dir))
  return files.expanded(data_dir) / str(inner)
