"""When training logs, evaluates, saves and stops."""

import time
from typing import NamedTuple

from lowdiff_jax import distributed


class Schedule(NamedTuple):
  """In steps; batch_size is that of all processes.

  Attributes:
    num_steps: after which training ends, with all of the others.
    batch_size: images of a step.
    log_every: steps.
    evaluate_every: steps.
    checkpoint_every: steps.
    keep_every: steps between checkpoints that stay for good; 0: none.
    keep_best: whether each evaluation saves, so that the best can stay.
    checkpoint_seconds: since the last save after which the next log saves; 0:
      never.
    profile: (first, last) step to trace; (0, 0): none.
    skips: whether the step leaves the state as it was if it is not finite;
      otherwise such a step ends the run.
    stall_seconds: without a step after which the program ends; 0: never.
    grace_seconds: from SIGTERM to the end.
  """

  num_steps: int
  batch_size: int
  log_every: int
  evaluate_every: int
  checkpoint_every: int
  keep_every: int = 0
  keep_best: bool = False
  checkpoint_seconds: float = 0.0
  profile: tuple[int, int] = (0, 0)
  skips: bool = False
  stall_seconds: float = 0.0
  grace_seconds: float = 300.0

  def evaluates(self, step: int) -> bool:
    """Whether the state after this step is evaluated."""
    return step == self.num_steps or step % self.evaluate_every == 0

  def saves(self, step: int, last_save: float) -> bool:
    """Whether the state after this step is saved.

    Args:
      step: the step.
      last_save: time.monotonic() then; that of process 0 counts.
    """
    if step == self.num_steps or step % self.checkpoint_every == 0:
      return True
    if self.keep_every and step % self.keep_every == 0:
      return True
    if self.keep_best and self.evaluates(step):
      return True
    # The processes talk about it: at logs alone, which wait for all anyway.
    if not self.checkpoint_seconds or step % self.log_every:
      return False
    overdue = time.monotonic() - last_save >= self.checkpoint_seconds
    return bool(distributed.agree(int(overdue)))
