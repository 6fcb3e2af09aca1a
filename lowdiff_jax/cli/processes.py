"""The processes of a run: how they join, and what if one of them is lost."""

import atexit
import itertools
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, NoReturn

import jax
from jax._src import distributed as jax_distributed

# Seconds between signs of life, and without one until a process is lost. JAX's
# own heartbeats take 100 s, and abort with a page of its stack.
BEAT, LOST = 2.0, 25.0
# Folders of the store that JAX's coordination service keeps.
_ALIVE, _IS_LOST = "lowdiff_jax/alive/", "lowdiff_jax/lost/"
# Instead of a count, of a process that has come to its end.
_ENDED = "ended"

_watch: "_Watch | None" = None


def start(lost: float = LOST) -> None:
  """Joins the other processes of this run, if there are any.

  Cloud TPU pods and SLURM announce them; elsewhere JAX_COORDINATOR_ADDRESS,
  JAX_NUM_PROCESSES and JAX_PROCESS_ID do. From then on, the loss of one ends
  all others: they would wait for it in the next collective operation.

  Args:
    lost: seconds without a sign of life after which a process is lost.
  """
  env = os.environ
  if "JAX_COORDINATOR_ADDRESS" in env:
    count, index = env.get("JAX_NUM_PROCESSES"), env.get("JAX_PROCESS_ID")
    jax.distributed.initialize(
      num_processes=int(count) if count else None,
      process_id=int(index) if index else None,
    )
  elif int(env.get("SLURM_NTASKS", 1)) > 1 or "," in env.get(
    "TPU_WORKER_HOSTNAMES", ""
  ):
    jax.distributed.initialize()
  else:
    return
  global _watch
  _watch = _Watch(jax_distributed.global_state, lost)
  _watch.start()
  # Python must not end within a call of JAX.
  atexit.register(_watch.stop)


def failed(*, unforeseen: bool) -> None:
  """Lets the others end too, as this process fails.

  Args:
    unforeseen: whether the loss of another process may be the reason. If it
      is, the watch says so and ends this process.
  """
  if _watch is not None:
    if unforeseen:
      _watch.join(_watch.lost + 2 * BEAT)
    _watch.show("")


def stop() -> None:
  """Leaves the other processes, as the program's end does."""
  if _watch is not None:
    _watch.stop()


class _Watch(threading.Thread):
  """Shows that this process lives, and ends it if another one does not."""

  def __init__(self, state: Any, lost: float):
    super().__init__(daemon=True)
    self.lost = lost
    self._store = state.client
    self._index, self._count = state.process_id, state.num_processes
    self._ending = threading.Event()
    self._beats: Iterator[Any] = itertools.count()
    # What each showed last, and since when.
    self._seen = dict.fromkeys(range(self._count), ("", time.monotonic()))

  def run(self) -> None:
    """Looks after the others until `stop`; process 0 does so for all."""
    while not self._ending.wait(min(BEAT, self.lost / 4)):
      try:
        self._set(f"{_ALIVE}{self._index}", str(next(self._beats)))
        if self._index == 0:
          for i in self._missing():
            self._set(f"{_IS_LOST}{i}", str(i))
        for _, number in self._store.key_value_dir_get(_IS_LOST):
          self._end(int(number))
      except jax.errors.JaxRuntimeError:
        return  # Process 0 is gone, with the store; JAX ends this one.

  def _missing(self) -> list[int]:
    """Those that have shown no sign of life for too long."""
    shown = dict(self._store.key_value_dir_get(_ALIVE))
    now = time.monotonic()
    for i, (text, _) in self._seen.items():
      new = shown.get(f"{_ALIVE}{i}", "")
      if new != text:
        self._seen[i] = new, now
    return [
      i
      for i, (text, since) in self._seen.items()
      if text != _ENDED and now - since > self.lost
    ]

  def _set(self, key: str, text: str) -> None:
    self._store.key_value_set(key, text, allow_overwrite=True)

  def show(self, text: str) -> None:
    """Shows this from now on instead of signs of life."""
    self._beats = itertools.repeat(text)

  def stop(self) -> None:
    """Waits for the end of the others, which do not miss this process."""
    if isinstance(self._beats, itertools.count):
      self.show(_ENDED)
    jax.distributed.shutdown()
    self._ending.set()
    self.join()

  def _end(self, lost: int) -> NoReturn:
    if lost != self._index:  # It has said itself why it failed.
      print(
        f"error: process {lost} of {self._count} is lost: no sign of life for "
        f"{self.lost:.0f} s, its own output may say why; start all processes "
        "again, the same command goes on from the newest checkpoint",
        file=sys.stderr,
        flush=True,
      )
    if self._index == 0:
      # The others lose the store with process 0, and should see why before.
      time.sleep(2 * BEAT)
    # The main thread waits in a collective operation for the lost process.
    os._exit(2)
