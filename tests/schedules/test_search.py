"""Successive halving on a problem whose answer is known."""

import numpy as np
import pytest

from lowdiff_jax.schedules.search import Goal, Problem, successive_halving

# A schedule is a number of steps, and a setting that is best at 3.
REFERENCE = (40, 0)


def true_distance(schedule):
  steps, setting = schedule
  return 1 + 20 / steps**2 + 0.2 * (setting - 3) ** 2


def distance(schedule, images):
  """Of few images it is noisy, but alike for all: common seeds."""
  rng = np.random.default_rng(images)
  common, own = rng.normal(size=2)
  own *= np.sin(100 * schedule[0] + schedule[1])
  scale = 0.1 / np.sqrt(images)
  return true_distance(schedule) + scale * (common + 0.3 * own)


def vary(schedule, rng):
  steps, setting = schedule
  if rng.random() < 0.7:
    return max(1, round(steps * 2 ** rng.uniform(-1, 1))), setting
  return steps, setting + int(rng.choice([-1, 1]))


def search(
  target, factor=1.0, seed=0, distance=distance, candidates=24, **kwargs
):
  calls = []

  def score(schedule, images):
    calls.append((schedule, images))
    return distance(schedule, images)

  base, best, trials = successive_halving(
    Problem(
      REFERENCE,
      Goal(target, factor),
      seconds=lambda schedule: schedule[0] / 100,
      distance=score,
      vary=vary,
    ),
    candidates=candidates,
    images=1000,
    rounds=3,
    rng=np.random.default_rng(seed),
    **kwargs,
  )
  assert [(t.schedule, t.images) for t in trials] == calls
  return base, best, trials


@pytest.mark.parametrize("seed", range(5))
def test_as_good_but_faster(seed):
  base, best, _ = search("quality", seed=seed)
  assert true_distance(best.schedule) <= 1.02 * true_distance(base.schedule)
  # The least steps that suffice, with the best setting, are 4.
  assert best.schedule[0] <= 8


@pytest.mark.parametrize("seed", range(5))
def test_much_faster_and_a_little_worse_does_not_win(seed):
  """Where quality hardly costs time, few trials miss the goal by much."""

  def shallow(schedule, images=0):
    steps, setting = schedule
    return (40 / steps) ** 0.08 * (0.85 if setting > 0 else 1)

  _, best, _ = search("quality", seed=seed, distance=shallow, candidates=12)
  # The least steps that suffice are 6 with the better setting.
  assert shallow(best.schedule) <= 1 and best.schedule[0] <= 20


@pytest.mark.parametrize("seed", range(5))
def test_as_fast_but_better(seed):
  base, best, _ = search("throughput", factor=2.0, seed=seed)
  assert best.seconds <= base.seconds / 2
  assert true_distance(best.schedule) < 0.6 * true_distance(base.schedule)


def test_rounds_cost_alike_and_score_on_more_images():
  reported = []
  *_, trials = search("quality", report=reported.append)
  assert reported == trials
  by_size = {}
  for trial in trials:
    by_size.setdefault(trial.images, []).append(trial.schedule)
  assert list(by_size) == [250, 500, 1000]
  assert [len(set(s)) for s in by_size.values()] == [25, 13, 7]
  assert all(schedules[0] == REFERENCE for schedules in by_size.values())


def test_what_cannot_win_is_never_scored():
  base, _, trials = search("quality")
  assert all(t.seconds <= base.seconds for t in trials)
  base, _, trials = search("throughput", factor=2.0)
  others = [t for t in trials if t.schedule != REFERENCE]
  assert all(t.seconds <= base.seconds / 2 for t in others)


def test_nothing_better_is_the_reference():
  base, best, _ = successive_halving(
    Problem(
      1,
      Goal("quality", 1.0),
      seconds=lambda schedule: 1.0,
      distance=lambda schedule, images: float(schedule),
      vary=lambda schedule, rng: schedule + 1,
    ),
    candidates=4,
    images=8,
    rounds=2,
    rng=np.random.default_rng(0),
  )
  assert best == base and base.schedule == 1
