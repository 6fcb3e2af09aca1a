"""The best checkpoint, by the score of the evaluations during training."""

import math
from collections.abc import Collection, Sequence
from typing import Any

from lowdiff_jax import files
from lowdiff_jax.distributed import agree, is_main
from lowdiff_jax.reading import read_json, reading

FILE = "best.json"


class Best:
  """Orbax's preservation policy for the checkpoint with the lowest score.

  Orbax takes a score when it saves; here the checkpoint is saved before it is
  evaluated, so that an interrupted evaluation loses no step. The file
  `best.json` beside the checkpoints has its step and score for later starts.
  """

  def __init__(self, folder: Any, steps: Collection[int]):
    """Reads what earlier starts have found.

    Args:
      folder: of the checkpoints.
      steps: those that there are: what is gone is not the best.

    Raises:
      UserError: the file is damaged.
    """
    self._path = folder / FILE
    self._step, self._score = -1, math.inf
    if not self._path.exists():
      return
    with reading(self._path, "delete it"):
      record = read_json(self._path)
      if int(record["step"]) in steps:
        self._step = int(record["step"])
        self._score = float(record["score"])

  def offer(self, step: int, score: float) -> None:
    """Makes this checkpoint the best if process 0's score is the lowest."""
    if agree(int(score < self._score)):
      self._step, self._score = step, score
      if is_main():
        files.write_json(self._path, {"step": step, "score": score})

  def should_preserve(
    self, checkpoints: Sequence[Any], *, context: Any
  ) -> list[bool]:
    """Whether each is the best; see Orbax's `PreservationPolicy`."""
    del context
    return [checkpoint.step == self._step for checkpoint in checkpoints]
