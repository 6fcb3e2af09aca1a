"""The files of a folder, or of a zip that is read in place.

Hidden files and folders and what systems and programs leave behind are no data.
Nothing is extracted: the names in a zip are never used as paths.
"""

import io
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from lowdiff_jax.reading import reading
from lowdiff_jax.types import UserError

# Of macOS, Windows and Synology; besides what begins with a dot.
NO_DATA = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini", "@eaDir"})


class Stamp(NamedTuple):
  """Changes when a file does: its size, and its time (ns) or its CRC-32."""

  size: int
  mark: int


class FileSet(NamedTuple):
  """Files by name; may be read by several threads.

  Attributes:
    root: the folder or the zip.
    place: of the files, for messages: "folder/" or "file.zip: ".
    stamps: of each file by its name, as in "cat/1.png", sorted.
    open: name -> the open file; of a damaged zip it may raise anything.
  """

  root: Path
  place: str
  stamps: dict[str, Stamp]
  open: Callable[[str], IO[bytes]]

  def path(self, name: str) -> str:
    """Where a file is, for messages."""
    return self.place + name


def open_files(root: Path) -> FileSet:
  """The files of a folder, at any depth, or of a zip.

  A zip whose files are all in one folder is taken as that folder.

  Args:
    root: the folder or the zip.

  Returns:
    The files.

  Raises:
    UserError: neither is there, or the zip is damaged.
  """
  with reading(root):
    if root.is_dir():
      stamps = _sorted(dict(_walk(root)))
      return FileSet(root, f"{root}/", stamps, lambda n: (root / n).open("rb"))
    if not root.exists():
      kind = "file" if root.suffix else "folder"
      raise UserError(f"there is no {kind} {root}")
    return _open_zip(root)


def one_file(path: Path) -> FileSet:
  """A single file, as a set."""
  stat = path.stat()
  stamp = Stamp(stat.st_size, stat.st_mtime_ns)
  return FileSet(
    path.parent,
    f"{path.parent}/",
    {path.name: stamp},
    lambda _: path.open("rb"),
  )


def _walk(root: Path) -> Iterator[tuple[str, Stamp]]:
  """Names and stamps of files; links are followed, but not in circles."""
  seen = set()
  for folder, folders, files in os.walk(root, followlinks=True, onerror=_raise):
    place = os.path.realpath(folder)
    if place in seen:
      folders.clear()
      continue
    seen.add(place)
    folders[:] = [name for name in folders if _is_data(name)]
    relative = os.path.relpath(folder, root)
    prefix = "" if relative == "." else f"{relative}/"
    for name in filter(_is_data, files):
      try:
        stat = os.stat(os.path.join(folder, name))
      except OSError:  # A link to nothing.
        continue
      yield prefix + name, Stamp(stat.st_size, stat.st_mtime_ns)


def _raise(error: OSError) -> None:
  raise error


def _is_data(part: str) -> bool:
  return not part.startswith(".") and part not in NO_DATA


def _sorted(stamps: dict[str, Stamp]) -> dict[str, Stamp]:
  """In the order of paths: "a/1" before "a-b/1"."""
  return {name: stamps[name] for name in sorted(stamps, key=_parts)}


def _parts(name: str) -> tuple[str, ...]:
  return tuple(name.split("/"))


def _open_zip(root: Path) -> FileSet:
  archive = zipfile.ZipFile(root)
  members = {
    name: info
    for info in archive.infolist()
    if (name := info.filename.lstrip("/")) and not info.is_dir()
    # ".." begins with a dot.
    if all(map(_is_data, _parts(name)))
  }
  common = _common_folder(members)

  def read(name: str) -> IO[bytes]:
    return io.BytesIO(archive.read(members[common + name]))

  stamps = {
    name.removeprefix(common): Stamp(info.file_size, info.CRC)
    for name, info in members.items()
  }
  return FileSet(root, f"{root}: {common}", _sorted(stamps), read)


def _common_folder(names: Iterable[str]) -> str:
  """The folder, as "a/b/", that all files are in; "" if there is none."""
  parents = [PurePosixPath(name).parent.as_posix() for name in names]
  common = os.path.commonpath(parents) if parents else ""
  return f"{common}/" if common not in ("", ".") else ""
