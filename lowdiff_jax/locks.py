"""One owner of what is written: a process at a time, for each kind of output.

The lock is the kernel's on a file, `flock`, which ends with its process however
that ends. Where a file system has none, the file's content is the lock, and in
a bucket an object that expires.
"""

import contextlib
import datetime
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from typing import Any

from lowdiff_jax import buckets, console, files, leases
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.distributed import agree, is_main
from lowdiff_jax.types import UserError

# What flock says on a file system without it.
_NO_FLOCK = (errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS)
# Seconds between two looks at a lock that is waited for.
_PAUSE = 0.5


@contextlib.contextmanager
def owned(folder: AnyPath, kind: str, *, wait: bool = False) -> Iterator[None]:
  """Holds the lock of a kind of output; process 0 does so for all.

  Args:
    folder: that is written to; it must exist.
    kind: of the output: the mode that writes it.
    wait: for another owner to end, instead of refusing.

  Raises:
    UserError: on all processes, if there is another owner.
  """
  with contextlib.ExitStack() as stack:
    refused = None
    if is_main():
      try:
        stack.enter_context(locked(folder, kind, wait=wait))
      except UserError as error:
        refused = error
    if agree(int(refused is not None)):
      raise refused or UserError(f"{folder}: process 0 was refused its lock")
    yield


@contextlib.contextmanager
def locked(folder: AnyPath, kind: str, *, wait: bool = False) -> Iterator[None]:
  """As `owned`, of one process alone: what others do is not its concern."""
  path, said = folder / f".{kind}.lock", False
  with contextlib.ExitStack() as held:
    while not _acquired(path, kind, held):
      owner = _owner(path)
      who = f"{path.parent} is being written by {_name(owner)}"
      if not wait:
        raise UserError(
          f"{who}: wait for it or stop it, or choose another folder "
          f"(--workdir){_way_out_of_stale(path, owner)}"
        )
      if not said:
        console.say(f"{who}: waiting for it to end")
        said = True
      time.sleep(_PAUSE)
    yield


def _acquired(path: AnyPath, kind: str, held: contextlib.ExitStack) -> bool:
  """Whether the lock was taken, which `held` then releases."""
  if buckets.is_in_bucket(path):
    with files.writing(path):
      lease = leases.Lease(
        path, _me(kind), lambda content: _may_be_alive(_parsed(content))
      )
      taken = lease.acquire()
    if taken:
      held.callback(lease.release)
    return taken
  descriptor = _acquire(path)
  if descriptor is None:
    return False
  held.callback(_release, path, descriptor)
  with files.writing(path):
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(_me(kind)).encode(), 0)
  return True


def _release(path: AnyPath, descriptor: int) -> None:
  # While it is still locked, so that nobody can own a file without a name.
  with contextlib.suppress(OSError):
    path.unlink()
  os.close(descriptor)


def _acquire(path: AnyPath) -> int | None:
  """The descriptor of the locked file; None if another process holds it."""
  with files.writing(path):
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
      fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
      held = _is_at(path, descriptor)
    except BlockingIOError:
      held = False
    except OSError as error:
      if error.errno not in _NO_FLOCK:
        os.close(descriptor)
        raise
      held = not _may_be_alive(_owner(path))
  if held:
    return descriptor
  os.close(descriptor)
  return None


def _is_at(path: AnyPath, descriptor: int) -> bool:
  """Whether the file still has its name: its last owner removes it."""
  try:
    return os.path.samestat(path.stat(), os.fstat(descriptor))
  except FileNotFoundError:
    return False


def _me(kind: str) -> dict[str, Any]:
  now = datetime.datetime.now().isoformat(" ", "seconds")
  host = socket.gethostname()
  return {"pid": os.getpid(), "host": host, "started": now, "mode": kind}


def _owner(path: AnyPath) -> dict[str, Any]:
  """Who holds a lock; empty if that cannot be read."""
  try:
    return _parsed(path.read_bytes())
  except OSError:
    return {}


def _parsed(content: bytes) -> dict[str, Any]:
  """The owner in a lock's content; empty if there is none."""
  try:
    owner = json.loads(content)
  except ValueError:
    return {}
  whole = isinstance(owner, dict) and _me("").keys() <= owner.keys()
  return owner if whole else {}


def _name(owner: dict[str, Any]) -> str:
  if not owner:
    return "another process"
  return (
    f"process {owner['pid']} ({owner['mode']}) on host {owner['host']} since "
    f"{owner['started']}"
  )


def _may_be_alive(owner: dict[str, Any]) -> bool:
  """Whether the process of a lock without flock runs, as far as is known."""
  if not owner:
    return False
  if owner["host"] != socket.gethostname():
    return True
  try:
    os.kill(owner["pid"], 0)
  except ProcessLookupError:
    return False
  except PermissionError:
    return True
  return owner["pid"] != os.getpid()


def _way_out_of_stale(path: AnyPath, owner: dict[str, Any]) -> str:
  """What to delete if the owner is on a host of which nothing is known."""
  expires = buckets.is_in_bucket(path)
  if expires or not owner or owner["host"] == socket.gethostname():
    return ""
  return f"; if it has ended, delete {path}"
