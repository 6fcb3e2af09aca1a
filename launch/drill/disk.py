"""A small disk to fill up: a tmpfs, or a limit where none may be mounted."""

import contextlib
import errno
import os
import resource
import subprocess
from pathlib import Path
from types import TracebackType

_BLOCK = 4096


class SmallDisk:
  """A folder on a disk of its own, if it may be mounted.

  Attributes:
    folder: on the disk.
    mounted: whether it is a tmpfs that can be full (ENOSPC). If not, `fill`
      forbids a process to make any file longer (EFBIG).
  """

  def __init__(self, folder: Path, megabytes: int, *, mount: bool = True):
    self.folder, self.mounted = folder, False
    self._megabytes, self._mount = megabytes, mount

  def __enter__(self) -> "SmallDisk":
    self.folder.mkdir(parents=True, exist_ok=True)
    if self._mount:
      size = f"size={self._megabytes}m"
      command = ["mount", "-t", "tmpfs", "-o", size, "none", str(self.folder)]
      with contextlib.suppress(FileNotFoundError):
        done = subprocess.run(command, capture_output=True, check=False)
        self.mounted = done.returncode == 0
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
  ) -> None:
    if self.mounted:
      subprocess.run(["umount", "-l", str(self.folder)], check=True)

  def fill(self, pid: int) -> None:
    """Leaves no space to a process; again, if it has freed some itself."""
    if not self.mounted:
      limit = (0, resource.RLIM_INFINITY)
      with contextlib.suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)
      return
    with (self.folder / "filler").open("ab", buffering=0) as file:
      try:
        while True:
          file.write(bytes(_BLOCK))
      except OSError as error:
        if error.errno != errno.ENOSPC:
          raise

  def free(self) -> None:
    """Makes space again; processes that start now have no limit either."""
    with contextlib.suppress(FileNotFoundError):
      os.unlink(self.folder / "filler")
