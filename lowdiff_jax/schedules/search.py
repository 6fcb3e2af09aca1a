"""Searches for the best schedule by successive halving on common seeds.

Successive halving (arXiv 1502.07943) scores many candidates on few images and
the better ones on more. On the way the better ones have offspring, as in an
evolution strategy, so that the first round need not hold the best. All scores
are of the same images (seeds), so what they have in common cancels.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

GOALS = ("quality", "throughput")
# A third of the candidates goes on.
SURVIVORS = 3
# In any round: a few near misses should not leave it without an answer.
MIN_CANDIDATES = 6
# Variations until one is given up for.
TRIES = 200


class Goal(NamedTuple):
  """The criterion by which schedules are compared with the reference.

  Attributes:
    target: "quality": the fastest schedule with at most `factor` times the
      reference's distance; "throughput": the least distance of those that make
      at least `factor` times the reference's images per second.
    factor: see target.
  """

  target: str
  factor: float

  def excess(self, trial: "Trial", reference: "Trial") -> float:
    """The factor by which a trial misses the goal; at most 1 if it meets it."""
    if self.target == "quality":
      return trial.distance / (self.factor * reference.distance)
    return trial.seconds * self.factor / reference.seconds

  def worth(self, seconds: float, reference_seconds: float) -> bool:
    """Whether a schedule of this speed could meet the goal and win."""
    if self.target == "quality":
      return seconds < reference_seconds
    return seconds * self.factor <= reference_seconds

  def cost(self, trial: "Trial") -> float:
    """The quantity to minimise: seconds for quality, else the distance."""
    return trial.seconds if self.target == "quality" else trial.distance

  def rank(self, trial: "Trial", reference: "Trial") -> float:
    """The sort key, cost * max(1, excess)^power: the best trial first.

    Distances of few images are noisy, so a near miss is penalised but not
    excluded. The power is high because along the Pareto front a few percent of
    distance often correspond to half of the time.
    """
    missed = max(1.0, self.excess(trial, reference))
    power = 16 if self.target == "quality" else 1
    return self.cost(trial) * missed**power

  def winner(
    self, trials: Sequence["Trial"], reference: "Trial"
  ) -> "Trial | None":
    """The best one that reaches the goal; None if none does."""
    reached = [trial for trial in trials if self.excess(trial, reference) <= 1]
    return min(reached, key=self.cost, default=None)


class Trial(NamedTuple):
  """A schedule that was evaluated.

  Attributes:
    schedule: the schedule.
    seconds: per image.
    distance: Frechet distance of the first `images` images.
    images: number of images.
  """

  schedule: Any
  seconds: float
  distance: float
  images: int


class Problem(NamedTuple):
  """A search: its reference, its goal and its space.

  Attributes:
    reference: the schedule to improve on.
    goal: the criterion.
    seconds: schedule -> seconds per image; cheap.
    distance: (schedule, images) -> Frechet distance of that many first images.
    vary: (schedule, rng) -> a neighbouring schedule.
  """

  reference: Any
  goal: Goal
  seconds: Callable[[Any], float]
  distance: Callable[[Any, int], float]
  vary: Callable[[Any, np.random.Generator], Any]


def successive_halving(
  problem: Problem,
  *,
  candidates: int,
  images: int,
  rounds: int,
  rng: np.random.Generator,
  report: Callable[[Trial], None] = lambda trial: None,
) -> tuple[Trial, Trial, list[Trial]]:
  """Looks for a schedule that is better than the reference.

  From round to round the images double and the candidates halve, so each round
  costs about the same. A third of a round's candidates are the best of the
  round before; the others are variations of the best third so far.

  Args:
    problem: the search.
    candidates: schedules in the first round, besides the reference.
    images: images per schedule in the last round.
    rounds: number of rounds.
    rng: source of the variations.
    report: called with every trial.

  Returns:
    The reference and the best schedule by the last round, which may be the
    reference; and all trials.
  """
  trials: list[Trial] = []
  survivors: list[Any] = []
  for r in range(rounds):
    count = max(MIN_CANDIDATES, candidates >> r)
    found: list[Trial] = []
    for trial in _round(
      problem, survivors, found, count, max(2, images >> (rounds - 1 - r)), rng
    ):
      found.append(trial)
      report(trial)
    trials += found
    survivors = _best(
      problem, found, max(MIN_CANDIDATES, count >> 1) // SURVIVORS
    )
  base = found[0]
  return base, problem.goal.winner(found, base) or base, trials


def _round(
  problem: Problem,
  survivors: Sequence[Any],
  found: Sequence[Trial],
  count: int,
  images: int,
  rng: np.random.Generator,
) -> Iterator[Trial]:
  """Trials, which the caller adds to `found`: the reference's is the first."""

  def trial(schedule: Any) -> Trial:
    seconds = problem.seconds(schedule)
    return Trial(schedule, seconds, problem.distance(schedule, images), images)

  for schedule in (problem.reference, *survivors):
    yield trial(schedule)
  while len(found) <= count:
    # The first ones go far: one good guess is worth many small steps.
    far = not survivors and len(found) <= count // SURVIVORS
    parents = _best(problem, found, max(1, len(found) // SURVIVORS))
    child = _offspring(
      problem,
      [problem.reference] if far or not parents else parents,
      {trial.schedule for trial in found},
      int(rng.integers(1, 7)) if far else 1,
      rng,
    )
    if child is None:
      return
    yield trial(child)


def _best(problem: Problem, found: Sequence[Trial], count: int) -> list[Any]:
  """The schedules of the best trials but the reference's.

  The one that would win now comes first: the others may be faster and just
  miss the goal, and all of them might do so in the end.
  """
  reference, *others = found
  winner = problem.goal.winner(others, reference)
  others.sort(key=lambda t: (t is not winner, problem.goal.rank(t, reference)))
  return [trial.schedule for trial in others[:count]]


def _offspring(
  problem: Problem,
  parents: Sequence[Any],
  seen: set[Any],
  times: int,
  rng: np.random.Generator,
) -> Any:
  """A new schedule that is worth a try; None if none is found."""
  limit = problem.seconds(problem.reference)
  for _ in range(TRIES):
    child = parents[int(rng.integers(len(parents)))]
    for _ in range(times):
      child = problem.vary(child, rng)
    if child not in seen and problem.goal.worth(problem.seconds(child), limit):
      return child
  return None
