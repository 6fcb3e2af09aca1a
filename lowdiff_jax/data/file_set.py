"""The files of a folder, or of a zip that is read in place.

Hidden files and folders and what systems and programs leave behind are no data.
Nothing is extracted: the names in a zip are never used as paths.
"""

import io
import os
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from absl import logging

from lowdiff_jax.data.decode import is_image
from lowdiff_jax.reading import reading
from lowdiff_jax.types import UserError

# The file of labels of EDM's and StyleGAN's data sets.
LABELS = "dataset.json"
# Of macOS, Windows and Synology; besides what begins with a dot.
NO_DATA = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini", "@eaDir"})
# A file in a zip that unpacks to more than this many times its size, and to
# more than this many bytes, is made to fill the memory.
_RATIO, _UNPACKED = 100, 1 << 26


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

  Where all images are below one folder, in several folders or with a file of
  labels, that folder is taken for the root.

  Args:
    root: the folder or the zip.

  Returns:
    The files.

  Raises:
    UserError: neither is there, or it cannot be read.
  """
  with reading(root):
    if root.is_dir():
      return _folder(root)
    if not root.exists():
      kind = "file" if root.suffix else "folder"
      raise UserError(f"there is no {kind} {root}")
    if not root.is_file():
      raise UserError(f"{root} is neither a folder nor a file")
    return _zip(root)


def one_file(path: Path) -> FileSet:
  """A single file, as a set."""
  info = path.stat()
  return FileSet(
    path.parent,
    f"{path.parent}/",
    {path.name: Stamp(info.st_size, info.st_mtime_ns)},
    lambda _: path.open("rb"),
  )


def plain_name(name: str) -> str:
  """A name in a zip, or in a file of labels, without \\, leading / and ./"""
  return str(PurePosixPath(name.replace("\\", "/"))).lstrip("/")


def _folder(root: Path) -> FileSet:
  stamps = dict(_walk(str(root), "", frozenset()))
  common = _common_folder(stamps)
  return FileSet(
    root,
    f"{root}/{common}",
    _below(common, stamps),
    lambda name: (root / (common + name)).open("rb"),
  )


def _walk(
  folder: str, prefix: str, above: frozenset[str]
) -> Iterator[tuple[str, Stamp]]:
  """Names and stamps of regular files; links are followed, but not in circles.

  Args:
    folder: to look in.
    prefix: its name, with a slash behind it.
    above: the real paths of the folders above it.
  """
  here = os.path.realpath(folder)
  if here in above:
    return
  try:
    entries = list(os.scandir(folder))
  except OSError as error:
    raise UserError(f"{folder} cannot be read ({error.strerror})") from error
  for entry in filter(lambda entry: _is_data(entry.name), entries):
    try:
      info = entry.stat()
    except OSError:  # A link to nothing.
      continue
    if stat.S_ISDIR(info.st_mode):
      yield from _walk(entry.path, f"{prefix}{entry.name}/", above | {here})
    elif stat.S_ISREG(info.st_mode):  # Reading a pipe would never end.
      yield prefix + entry.name, Stamp(info.st_size, info.st_mtime_ns)


def _is_data(part: str) -> bool:
  return not part.startswith(".") and part not in NO_DATA


def _zip(root: Path) -> FileSet:
  archive = zipfile.ZipFile(root)
  members = {
    plain_name(info.filename): info
    for info in archive.infolist()
    if not info.is_dir()
  }
  outside = [name for name in members if ".." in name.split("/")]
  if outside:
    logging.warning(
      "left out %d files of %s whose names lead out of it, the first is %s",
      *(len(outside), root, outside[0]),
    )
  stamps = {
    name: Stamp(info.file_size, info.CRC)
    for name, info in members.items()
    if all(map(_is_data, name.split("/")))
  }
  common = _common_folder(stamps)

  def read(name: str) -> IO[bytes]:
    info = members[common + name]
    if info.flag_bits & 1:
      raise ValueError("it is encrypted")
    if info.file_size > max(_UNPACKED, _RATIO * info.compress_size):
      raise ValueError(
        f"it would unpack to {info.file_size >> 20} MiB, more than {_RATIO} "
        "times its size"
      )
    return io.BytesIO(archive.read(info))

  return FileSet(root, f"{root}: {common}", _below(common, stamps), read)


def _common_folder(names: Iterable[str]) -> str:
  """The folder, as "a/b/", to take for the root; "" for the root itself."""
  names = list(names)
  labels = [n for n in names if PurePosixPath(n).name == LABELS]
  parents = {PurePosixPath(n).parent for n in names if is_image(n)}
  if not parents:
    return ""
  common = PurePosixPath(os.path.commonpath(parents))
  top = min((PurePosixPath(n).parent for n in labels), default=None, key=_depth)
  if top is not None and all(p.is_relative_to(top) for p in parents):
    common = top
  elif len(parents) == 1:
    common = common.parent  # Its images are of one class.
  return "" if common == PurePosixPath(".") else f"{common}/"


def _depth(path: PurePosixPath) -> int:
  return len(path.parts)


def _below(common: str, stamps: dict[str, Stamp]) -> dict[str, Stamp]:
  """Those below a folder, in the order of paths: "a/1" before "a-b/1".

  What else there is, no image, keeps its place in front.
  """
  inside = {
    name.removeprefix(common): stamp
    for name, stamp in stamps.items()
    if name.startswith(common)
  }
  outside = {
    name: stamp for name, stamp in stamps.items() if not name.startswith(common)
  }
  names = sorted(inside, key=lambda name: tuple(name.split("/")))
  return outside | {name: inside[name] for name in names}
