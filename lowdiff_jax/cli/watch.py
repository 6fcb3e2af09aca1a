"""Ends a process if another one of its run is lost, fails or hangs."""

import contextlib
import ctypes
import os
import signal
import socket
import sys
import threading
import time
from typing import Any, NoReturn

import jax
from jax._src import distributed as jax_distributed
from jax._src.lib import utils as jax_utils

from lowdiff_jax.train import preemption
from lowdiff_jax.train.watchdog import STATUS

# Seconds between signs of life, at most.
_BEAT = 1.0
# Folders of the store that JAX's coordination service keeps. What is in _LOST
# begins with the status with which the others end.
_ALIVE, _LOST = "lowdiff_jax/alive/", "lowdiff_jax/lost/"
# Instead of signs of life, of a process that has come to its end.
_ENDED = "ended"
_FAILED = "has failed, and said why"


def complain(text: str) -> None:
  """Prints a line to stderr at once."""
  print(text, file=sys.stderr, flush=True)


class Watch(threading.Thread):
  """Shows that this process lives, and ends it if another one does not.

  Process 0 looks after all; the others look after it, as the store of what
  they show is lost with it. Time is counted in this thread's own wake-ups: that
  in which the whole run is suspended does not count.
  """

  def __init__(self, coordinator: str, lost: float, stall: float):
    super().__init__(daemon=True)
    self._limit, self._stall = lost, stall
    self._coordinator = coordinator
    state: Any = jax_distributed.global_state
    self._store = state.client
    self._index, self._count = state.process_id, state.num_processes
    self.beat = min(_BEAT, lost / 4)
    self._ending, self._leaving = threading.Event(), threading.Event()
    self._shown, self._status = "", 0
    # The number of the beat that process 0 has not yet answered; 0: none.
    self._asked = 0
    # Seconds; and what each showed last, and since when.
    self._now = 0.0
    begin = "", self._now
    self._seen = dict.fromkeys(range(self._count), begin)
    self._steps = dict.fromkeys(range(self._count), begin)

  def start(self) -> None:
    """Starts both threads."""
    if self._index:
      _delay_abort()
      threading.Thread(target=self._look_after_process_0, daemon=True).start()
    super().start()

  def run(self) -> None:
    """Looks after the others until `stop`."""
    number = 0
    while not self._ending.wait(self.beat):
      number = self._asked = number + 1
      self._now += self.beat
      try:
        text = self._shown or f"{number} {preemption.position()}"
        self._set(f"{_ALIVE}{self._index}", text)
        if self._index == 0:
          for i, reason in self._missing().items():
            self._set(f"{_LOST}{i}", f"{STATUS} {reason}")
        lost = self._store.key_value_dir_get(_LOST)
      except jax.errors.JaxRuntimeError:
        return  # Process 0 is gone, or this one is about to end.
      self._asked = 0
      for key, value in lost:
        i, (status, _, reason) = (
          int(key.rpartition("/")[2]),
          value.partition(" "),
        )
        if (i, reason) != (self._index, _FAILED):
          self._end(i, reason, int(status))

  def _look_after_process_0(self) -> None:
    """Ends this process if process 0, or its host, does not answer.

    The other thread may wait within JAX, which is about to abort.
    """
    pause, last, seconds = self.beat / 2, 0, 0.0
    while not self._ending.wait(pause):
      same = self._asked == last
      last, seconds = self._asked, seconds + pause if same else 0.0
      if not last:
        continue
      if seconds > self._limit and not self._shown:
        self._end(0, f"is lost: no answer for {self._limit:.0f} s")
      if _is_closed(self._coordinator) and not self._ending.wait(pause):
        self._end(0, "is lost: its own output may say why")

  def _missing(self) -> dict[int, str]:
    """Those that have shown no sign of life, or no step, for too long."""
    shown = dict(self._store.key_value_dir_get(_ALIVE))
    now = self._now
    for i in range(self._count):
      text = shown.get(f"{_ALIVE}{i}", "")
      for seen, new in (self._seen, text), (self._steps, text.split(" ")[-1]):
        if new != seen[i][0]:
          seen[i] = new, now
    found = {
      i: f"is lost: no sign of life for {self._limit:.0f} s, its own output "
      "may say why"
      for i, (text, since) in self._seen.items()
      if text != _ENDED and now - since > self._limit
    }
    steps = {i: int(t) for i, (t, _) in self._steps.items() if t.isdigit()}
    still = min(now - since for _, since in self._steps.values())
    if still > self._stall and len(steps) == self._count:
      first, last = min(steps.values()), max(steps.values())
      for i, step in steps.items():
        if step == first < last:
          found[i] = (
            f"hangs: it has been at step {first} for {still:.0f} s, another "
            f"one waits for it at step {last}"
          )
    return found

  def _set(self, key: str, text: str) -> None:
    self._store.key_value_set(key, text, allow_overwrite=True)

  def wait_for_news(self) -> None:
    """Returns if no other process is lost; if one is, the program ends."""
    if self._leaving.wait(self._limit + 2 * self.beat):
      threading.Event().wait()

  def fail(self, status: int) -> None:
    """Tells the others, which end with this status too."""
    self._shown, self._status = _FAILED, status
    with contextlib.suppress(jax.errors.JaxRuntimeError):  # It may be gone.
      self._set(f"{_LOST}{self._index}", f"{status} {_FAILED}")
    # Threads that wait for the others would keep Python from its end.
    late = threading.Timer(self._limit, self._leave, [status])
    late.daemon = True
    late.start()

  def stop(self) -> None:
    """Waits for the end of the others, which do not miss this process."""
    if self._shown == _FAILED:
      self._leave(self._status)
    self._shown = _ENDED
    jax.distributed.shutdown()
    self._ending.set()
    self.join()

  def _end(self, lost: int, reason: str, status: int = STATUS) -> NoReturn:
    if reason == _FAILED:
      time.sleep(self.beat)  # This one may be about to say the same.
    if self._shown != _FAILED:
      complain(
        f"error: process {lost} of {self._count} {reason}; start all processes "
        "again, the same command goes on"
      )
    # The main thread waits in a collective operation for the lost process.
    self._leave(self._status or status)

  def _leave(self, status: int) -> NoReturn:
    self._leaving.set()
    if self._index == 0:
      # The others lose the store with process 0, and should see why before.
      time.sleep(2 * self.beat)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _is_closed(address: str) -> bool:
  """Whether the host says that nobody listens there."""
  host, _, port = address.rpartition(":")
  try:
    socket.create_connection((host.strip("[]"), int(port)), _BEAT).close()
  except ConnectionError:
    return True
  except OSError:  # It says nothing.
    return False
  return False


def _delay_abort() -> None:
  """Gives the watch 6 s to say in a line that process 0 is gone.

  JAX's client says it at once, in a page of its stack, and aborts. It takes no
  callback (jaxlib cannot convert its argument), so that its words are left out
  and SIGABRT, number 6, is handled by libc's sleep. With TF_CPP_MIN_LOG_LEVEL=0
  nothing is left out.
  """
  if os.environ.get("TF_CPP_MIN_LOG_LEVEL") != "0":
    jax_utils.absl_set_min_log_level(4)  # Above FATAL.
  libc = ctypes.CDLL(None)
  libc.signal(int(signal.SIGABRT), libc.sleep)
