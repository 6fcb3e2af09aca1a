"""A program in another environment, which does jobs when it is told to."""

import subprocess
from pathlib import Path


class Worker:
  """The other process: told a job, it answers with the seconds.

  Attributes:
    about: versions of PyTorch and cuDNN.
    peak_bytes: the most memory that the last job took; 0 on a CPU.
  """

  def __init__(self, python: str, program: str, *flags: str):
    """Starts it.

    Args:
      python: the interpreter of its environment.
      program: the name of its file, beside this one.
      *flags: for the program.
    """
    self.process = subprocess.Popen(
      [python, str(Path(__file__).with_name(program)), *flags],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    assert self.process.stdin and self.process.stdout
    self._input, self._output = self.process.stdin, self.process.stdout
    self.about = self._answer().removeprefix("ready ")
    self.peak_bytes = 0

  def __call__(self, job: str) -> float:
    self._input.write(f"{job}\n")
    self._input.flush()
    seconds, peak_bytes = self._answer().split()
    self.peak_bytes = int(peak_bytes)
    return float(seconds)

  def _answer(self) -> str:
    line = self._output.readline()
    if not line:
      raise SystemExit("the published code stopped; its message is above")
    return line.strip()

  def close(self) -> None:
    """Waits for its end."""
    self._input.close()
    self.process.wait()
