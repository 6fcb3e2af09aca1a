"""Which schedule is best: successive halving, on common seeds.

Successive halving (arXiv 1502.07943) scores many candidates on few images and
the better ones on more. On the way the better ones have offspring, as in an
evolution strategy, so that the first round need not hold the best. All scores
are of the same images (seeds), so what they have in common cancels.
"""

import functools
from collections.abc import Callable, Hashable
from typing import NamedTuple

import numpy as np

GOALS = ("quality", "throughput")
# A third of the candidates goes on.
SURVIVORS = 3
# Variations until one is given up for.
TRIES = 200


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

  From round to round the images double and the candidates halve, so that each
  costs about the same. A third of a round's candidates are the best ones of the
  round before; the others are one by one made of the best third so far.

  Args:
    reference: the schedule to beat.
    goal: what better means.
    seconds: schedule -> seconds of an image; cheap.
    distance: (schedule, images) -> Frechet distance of that many first images.
    vary: (schedule, rng) -> another one near by.
    candidates: of the first round, besides the reference.
    images: of the last round.
    rounds: how many.
    rng: of the variations.
    report: called with every trial.

  Returns:
    The reference and the best schedule by the last round, which may be the
    reference; and all trials.
  """
  trials, survivors, limit = [], [], seconds(reference)
  for r in range(rounds):
    size = max(2, images >> (rounds - 1 - r))
    found: list[Trial] = []

    def score(schedule, size=size, found=found):
      trial = Trial(schedule, seconds(schedule), distance(schedule, size), size)
      found.append(trial)
      trials.append(trial)
      report(trial)

    def best(count, found=found):
      rank = functools.partial(goal.rank, reference=found[0])
      return sorted(found[1:], key=rank)[:count]

    for schedule in (reference, *survivors):
      score(schedule)
    count = max(1, candidates >> r)
    while len(found) <= count:
      # The first ones go far: one good guess is worth many small steps.
      parents = best(max(1, len(found) // SURVIVORS))
      far = r == 0 and len(found) <= count // SURVIVORS
      child = _offspring(
        [reference] if far or not parents else [t.schedule for t in parents],
        {trial.schedule for trial in found},
        lambda schedule: goal.worth(seconds(schedule), limit),
        vary,
        int(rng.integers(1, 7)) if far else 1,
        rng,
      )
      if child is None:
        break
      score(child)
    survivors = [t.schedule for t in best(max(1, (count >> 1) // SURVIVORS))]
  base = found[0]
  reached = [trial for trial in found if goal.excess(trial, base) <= 1]
  return base, min(reached, key=goal.cost, default=base), trials


def _offspring(parents, seen, worth, vary, times, rng):
  """A new schedule that is worth a try; None if none is found."""
  for _ in range(TRIES):
    child = parents[int(rng.integers(len(parents)))]
    for _ in range(times):
      child = vary(child, rng)
    if child not in seen and worth(child):
      return child
  return None
