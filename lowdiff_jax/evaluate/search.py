"""Which schedule is best: successive halving, on common seeds.

Successive halving (arXiv 1502.07943) scores many candidates on few images and
the better ones on more. Between rounds the better ones have offspring, as in an
evolution strategy, so that the first round need not hold the best. All scores
are of the same images (seeds), so what they have in common cancels.
"""

from collections.abc import Callable, Hashable
from typing import NamedTuple

import numpy as np

GOALS = ("quality", "throughput")
# Of a round's candidates, a third goes on.
SURVIVORS = 3


class Goal(NamedTuple):
  """What is better than the reference.

  Attributes:
    target: "quality": the fastest schedule with at most `factor` times the
      reference's distance; "throughput": the least distance of those that make
      at least `factor` times the reference's images per second.
    factor: see target.
  """

  target: str
  factor: float

  def excess(self, trial: "Trial", reference: "Trial") -> float:
    """By which factor a trial misses the goal; at most 1 if it does not."""
    if self.target == "quality":
      return trial.distance / (self.factor * reference.distance)
    return trial.seconds * self.factor / reference.seconds

  def worth(self, seconds: float, reference_seconds: float) -> bool:
    """Whether a schedule of this speed can win at all."""
    if self.target == "quality":
      return seconds < reference_seconds
    return seconds * self.factor <= reference_seconds

  def cost(self, trial: "Trial") -> float:
    """What is to be small."""
    return trial.seconds if self.target == "quality" else trial.distance

  def rank(self, trial: "Trial", reference: "Trial") -> float:
    """For a sort, best first.

    Few images decide little: what misses the goal by little is only a little
    worse. A distance falls slowly with the time spent, hence the power.
    """
    missed = max(1.0, self.excess(trial, reference))
    power = 4 if self.target == "quality" else 1
    return self.cost(trial) * missed**power


class Trial(NamedTuple):
  """A schedule and what is known of it.

  Attributes:
    schedule: the schedule.
    seconds: of an image.
    distance: of the first `images` images.
    images: how many.
  """

  schedule: Hashable
  seconds: float
  distance: float
  images: int


def successive_halving(
  reference: Hashable,
  *,
  goal: Goal,
  seconds: Callable[[Hashable], float],
  distance: Callable[[Hashable, int], float],
  vary: Callable[[Hashable, np.random.Generator], Hashable],
  candidates: int,
  images: int,
  rounds: int,
  rng: np.random.Generator,
  report: Callable[[Trial], None] = lambda trial: None,
) -> tuple[Trial, Trial, list[Trial]]:
  """Looks for a schedule that is better than the reference.

  Round r scores candidates / 2^(rounds-1-r) ... halving in number while the
  images double: every round costs about the same.

  Args:
    reference: the schedule to beat.
    goal: what better means.
    seconds: schedule -> seconds of an image; cheap.
    distance: (schedule, images) -> Frechet distance of that many first images.
    vary: (schedule, rng) -> another one near by.
    candidates: of the first round.
    images: of the last round.
    rounds: how many.
    rng: of the variations.
    report: called with every trial.

  Returns:
    The reference and the best schedule by the last round, which may be the
    reference; and all trials.
  """
  trials, parents, best = [], [reference], None
  for r in range(rounds):
    count = max(2, candidates >> r)
    size = max(2, images >> (rounds - 1 - r))
    limit = seconds(reference)
    pool = _offspring(
      reference, parents, count, goal, seconds, limit, vary, rng
    )
    found = []
    for schedule in [reference, *pool]:
      trial = Trial(schedule, seconds(schedule), distance(schedule, size), size)
      found.append(trial)
      report(trial)
    trials += found
    base, others = found[0], found[1:]
    others.sort(key=lambda trial: goal.rank(trial, base))
    parents = [t.schedule for t in others[: max(1, count // SURVIVORS)]]
    reached = [t for t in others if goal.excess(t, base) <= 1]
    best = min(reached, key=goal.cost, default=base)
  return base, best, trials


def _offspring(reference, parents, count, goal, seconds, limit, vary, rng):
  """The parents that are no reference, and variations of them, worth a try."""
  pool = [p for p in dict.fromkeys(parents) if p != reference][:count]
  seen, tries = {reference, *pool}, 0
  while len(pool) < count and tries < 200 * count:
    tries += 1
    child = parents[int(rng.integers(len(parents)))]
    # The first round has far to go.
    for _ in range(1 if len(parents) > 1 else int(rng.integers(1, 6))):
      child = vary(child, rng)
    if child in seen or not goal.worth(seconds(child), limit):
      continue
    seen.add(child)
    pool.append(child)
  return pool
