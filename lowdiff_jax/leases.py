"""Locks in a bucket, which has no flock: objects that their owners renew.

The object is created with the precondition that there is none, so that of two
programs one gets it. Its owner writes it again every RENEWED seconds. One that
has not been renewed for EXPIRED seconds, by the clock of the store, is that of
a program that was killed, and the next one takes it over.
"""

import contextlib
import json
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from lowdiff_jax import buckets, console
from lowdiff_jax.buckets import AnyPath

RENEWED, EXPIRED = 20.0, 90.0
# Seconds between two looks at a lease whose owner may live.
_PAUSE = 1.0
# As of other errors that end the program in a line.
_STATUS = 2


class Lease:
  """The lease of one object."""

  def __init__(
    self,
    path: AnyPath,
    owner: dict[str, Any],
    may_live: Callable[[bytes], bool],
  ):
    """Describes a lease, which `acquire` takes.

    Args:
      path: of the object.
      owner: who takes it, as JSON.
      may_live: content -> whether its owner may live, as far as is known here.
    """
    self._path, self._may_live = str(path), may_live
    self._store, self._token = buckets.file_system(), uuid.uuid4().hex
    self._content = json.dumps({**owner, "token": self._token}).encode()
    self._ended = threading.Event()
    self._renewing = threading.Thread(target=self._renew, daemon=True)

  def acquire(self) -> bool:
    """Takes the lease; False if another program renews it.

    It takes up to RENEWED seconds to see that, and up to EXPIRED to see that it
    does not.
    """
    first, said = "", False
    with contextlib.suppress(FileNotFoundError):
      first = self._store.info(self._path)["generation"]
    now, since = self._store_time() if first else 0.0, time.monotonic()
    while not self._create():
      try:
        info = self._store.info(self._path)
        owner = self._store.cat_file(self._path)
      except FileNotFoundError:
        continue
      age = now + time.monotonic() - since - info["mtime"].timestamp()
      if (first and age > EXPIRED) or not self._may_live(owner):
        with contextlib.suppress(FileNotFoundError):
          self._store.rm_file(self._path)
        continue
      if info["generation"] != first:
        return False
      if not said:
        console.say(f"{self._path} is held: waiting for a sign of its owner")
        said = True
      time.sleep(_PAUSE)
    self._renewing.start()
    return True

  def release(self) -> None:
    """Removes the object, if it is still of this program."""
    self._ended.set()
    self._renewing.join()
    with contextlib.suppress(Exception):  # It expires.
      if self._is_ours():
        self._store.rm_file(self._path)

  def _create(self) -> bool:
    # Emulators do not know the precondition.
    if self._store.exists(self._path):
      return False
    try:
      self._store.pipe_file(self._path, self._content, mode="create")
    except FileExistsError:
      # Or it was created, and the request repeated as no answer came.
      return self._is_ours()
    return True

  def _store_time(self) -> float:
    """Seconds since the epoch, by the clock of the store."""
    probe = f"{self._path}.{self._token}"
    self._store.pipe_file(probe, b"")
    try:
      return self._store.info(probe)["mtime"].timestamp()
    finally:
      self._store.rm_file(probe)

  def _is_ours(self) -> bool:
    try:
      content = self._store.cat_file(self._path)
    except FileNotFoundError:
      return False
    return content == self._content

  def _renew(self) -> None:
    while not self._ended.wait(RENEWED):
      try:
        ours = self._is_ours()
        if ours:
          self._store.pipe_file(self._path, self._content)
      except Exception:
        continue  # The bucket does not answer.
      if not ours and not self._ended.is_set():
        sys.stderr.write(
          f"error: {self._path} was taken over by another program, as this one "
          f"had not renewed it for {EXPIRED:.0f} s\n"
        )
        sys.stderr.flush()
        # Two programs must not write the same files.
        os._exit(_STATUS)
