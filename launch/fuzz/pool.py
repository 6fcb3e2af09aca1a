"""Workers that read inputs; one that hangs or dies is replaced."""

import dataclasses
import itertools
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from launch.fuzz.reader import FAILED, Result
from launch.fuzz.worker import LIMIT_MIB, Readers, serve

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
    task: reader and number of the input that it reads; None if it is idle.
    deadline: when it counts as hung.
  """

  process: SpawnProcess
  connection: Connection
  folder: Path
  task: tuple[str, int] | None
  deadline: float

  @property
  def is_idle(self) -> bool:
    """Whether it waits for a task."""
    return self.task is None and self.deadline == 0


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
      running = [self._start(root, i) for i in range(workers if first else 0)]
      try:
        while running:
          wait([w.connection for w in running], timeout=0.5)
          for worker in list(running):
            result = self._result(worker)
            if result is not None:
              if result.outcome == FAILED and keep is not None:
                _keep(worker.folder / "input", keep, result, self._seed)
              yield result
            if not worker.process.is_alive():
              running.remove(worker)
              worker = self._start(root, time.monotonic_ns())
              running.append(worker)
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
    return _Worker(process, ours, folder, None, time.monotonic() + _START)

  def _give(self, worker: _Worker, task: tuple[str, int] | None) -> bool:
    if task is None:
      return False
    worker.task, worker.deadline = task, time.monotonic() + _START
    worker.connection.send(task)
    return True

  def _result(self, worker: _Worker) -> Result | None:
    """What a worker has to say, if anything; it is idle then, or dead."""
    try:
      if worker.connection.poll():
        result = worker.connection.recv()
        if result is None and worker.task is not None:
          worker.deadline = time.monotonic() + self._limit
          return None
        worker.task, worker.deadline = None, 0
        return self._timely(result)
    except (EOFError, OSError):
      worker.process.join(5)
    dead = not worker.process.is_alive()
    late = worker.deadline and time.monotonic() > worker.deadline
    if not dead and not late:
      return None
    reason = f"the process died ({worker.process.exitcode})"
    if not dead:
      reason = f"no end after {self._limit:g} s"
      _stop(worker)
    log = (worker.folder / "output").read_text(errors="replace")[-2000:]
    if worker.task is None:
      raise RuntimeError(f"a worker cannot start: {reason}\n{log}")
    return Result(
      *worker.task, FAILED, f"{reason}\n{log}", self._limit if late else 0, 0
    )

  def _timely(self, result: Result | None) -> Result | None:
    if result and result.outcome != FAILED and result.seconds > self._limit:
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
