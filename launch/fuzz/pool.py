"""Workers that read inputs; one that hangs or dies is replaced."""

import contextlib
import dataclasses
import itertools
import math
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from launch.fuzz.reader import FAILED, Result
from launch.fuzz.worker import BEGUN, LIMIT_MIB, READY, Readers, serve

_CONTEXT = multiprocessing.get_context("spawn")
# Seconds to import everything, or to make an input and a reader's seeds.
_START = 120.0


@dataclasses.dataclass
class _Worker:
  """A process and what it is doing.

  Attributes:
    process: the process.
    connection: to it.
    folder: in which it works.
    deadline: when it counts as hung; infinite while it waits for a task.
    task: reader and number of the input that it was given; None if it has none.
    has_begun: whether it has begun that task.
    has_served: whether it has ever begun one.
    is_gone: whether it has ended, and is to be replaced.
  """

  process: SpawnProcess
  connection: Connection
  folder: Path
  deadline: float
  task: tuple[str, int] | None = None
  has_begun: bool = False
  has_served: bool = False
  is_gone: bool = False

  @property
  def is_idle(self) -> bool:
    """Whether it waits for a task."""
    return self.deadline == math.inf


class Pool:
  """Reads inputs in several processes."""

  def __init__(
    self,
    readers: Readers,
    seed: int,
    limit: float = 20.0,
    mebibytes: float = LIMIT_MIB,
  ) -> None:
    """Prepares to read.

    Args:
      readers: a function of a module, which each process calls.
      seed: of the inputs.
      limit: seconds for one input.
      mebibytes: of memory for one input.
    """
    self._readers, self._seed, self._limit = readers, seed, limit
    self._mebibytes = mebibytes

  def run(
    self, tasks: Iterator[tuple[str, int]], workers: int, keep: Path | None
  ) -> Iterator[Result]:
    """The results of all tasks, in the order in which they end.

    Args:
      tasks: (reader, number).
      workers: how many processes.
      keep: where the inputs of failures are copied to.

    Yields:
      Results.
    """
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
      first = next(tasks, None)
      tasks = itertools.chain([] if first is None else [first], tasks)
      root = Path(folder)
      names = itertools.count()
      running = [
        self._start(root, next(names)) for _ in range(workers if first else 0)
      ]
      try:
        while running:
          wait([w.connection for w in running], timeout=0.5)
          for worker in list(running):
            result = self._result(worker)
            if result is not None:
              if result.outcome == FAILED and keep is not None:
                _keep(worker.folder / "input", keep, result, self._seed)
              yield result
            if worker.is_gone:
              if worker.task is not None:
                tasks = itertools.chain([worker.task], tasks)
              running[running.index(worker)] = self._start(root, next(names))
            elif worker.is_idle and not self._give(worker, next(tasks, None)):
              running.remove(worker)
              _stop(worker)
      finally:
        for worker in running:
          _stop(worker)

  def _start(self, root: Path, index: int) -> _Worker:
    folder = root / str(index)
    folder.mkdir()
    ours, theirs = _CONTEXT.Pipe()
    process = _CONTEXT.Process(
      target=serve,
      args=(theirs, self._readers, self._seed, folder, self._mebibytes),
    )
    process.start()
    theirs.close()
    return _Worker(process, ours, folder, time.monotonic() + _START)

  def _give(self, worker: _Worker, task: tuple[str, int] | None) -> bool:
    if task is None:
      return False
    worker.task, worker.has_begun = task, False
    worker.deadline = time.monotonic() + _START
    # A worker that has died meanwhile is noticed when it is listened to.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
      worker.connection.send(task)
    return True

  def _result(self, worker: _Worker) -> Result | None:
    """The result of a worker's task, if that has ended.

    A worker that died is marked as gone. If it has begun its task, that has
    failed; else the task is left to it, for another worker.
    """
    # Asked first: what a dead worker has sent is then there to be read.
    is_dead = not worker.process.is_alive()
    try:
      while worker.connection.poll():
        message = worker.connection.recv()
        if isinstance(message, Result):
          worker.task, worker.deadline = None, math.inf
          return self._timely(message)
        if message == READY:
          worker.deadline = math.inf
        elif message == BEGUN:
          worker.has_begun = worker.has_served = True
        else:
          worker.deadline = time.monotonic() + self._limit
    except (EOFError, OSError):
      worker.process.join(5)
      is_dead = True
    is_late = time.monotonic() > worker.deadline
    if not is_dead and not is_late:
      return None
    reason = f"no end after {self._limit:g} s"
    if is_dead:
      reason = f"the process died ({worker.process.exitcode})"
    _stop(worker)
    worker.is_gone = True
    log = (worker.folder / "output").read_text(errors="replace")[-2000:]
    if not worker.has_served:
      raise RuntimeError(f"a worker cannot start: {reason}\n{log}")
    if worker.task is None or not worker.has_begun:
      return None
    task, worker.task = worker.task, None
    seconds = self._limit if is_late else 0
    return Result(*task, FAILED, f"{reason}\n{log}", seconds, 0)

  def _timely(self, result: Result) -> Result:
    if result.outcome != FAILED and result.seconds > self._limit:
      return result._replace(
        outcome=FAILED, detail=f"{result.seconds:.0f} s; {result.detail}"
      )
    return result


def _stop(worker: _Worker) -> None:
  worker.connection.close()
  worker.process.join(0.2)
  worker.process.kill()
  worker.process.join()


def _keep(source: Path, keep: Path, result: Result, seed: int) -> None:
  target = keep / f"{result.reader}-{result.number}"
  shutil.rmtree(target, ignore_errors=True)
  keep.mkdir(parents=True, exist_ok=True)
  if source.is_dir():
    shutil.copytree(source, target, symlinks=True)
  target.mkdir(exist_ok=True)
  again = f"--seed={seed} --only={result.reader} --first={result.number}"
  (target / "FAILURE.txt").write_text(
    f"python -m launch.fuzz {again} --inputs=1\n\n{result.detail}\n"
  )
