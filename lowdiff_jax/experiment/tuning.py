"""Searches for a better schedule of a trained model."""

import functools
import time
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from lowdiff_jax import console
from lowdiff_jax.experiment.schedule import limits, read_schedule
from lowdiff_jax.experiment.schedule_scorer import ScheduleScorer
from lowdiff_jax.experiment.trained import Trained
from lowdiff_jax.schedules import space
from lowdiff_jax.schedules.search import (
  Goal,
  Problem,
  Trial,
  successive_halving,
)


@dataclass(frozen=True)
class Tuned:
  """What a search has found; as text a table of the schedules.

  Attributes:
    fields: of the config, by full name, that make its schedule the best one.
    record: all about the search, as JSON: the schedules of the config and the
      best one with images/s, NFE and distance, and all trials.
  """

  fields: dict[str, Any]
  record: dict[str, Any]

  def __str__(self) -> str:
    record = self.record
    metric = f"{record['metric']}_of_{record['images']}_images"
    lines = [f"{'':10}{'images/s':>12}{'NFE':>14}  {metric}"]
    for name, row in record["schedules"].items():
      nfe = "+".join(map(str, row["nfe"]))
      lines.append(
        f"{name:10}{row['images_per_second']:12.2f}{nfe:>14}  "
        f"{row['distance']:.4f}"
      )
    search = record["search"]
    lines.append(
      f"the search scored {search['images_scored']} images in "
      f"{search['seconds']:.0f} s"
    )
    return "\n".join(lines)


def tune(model: Trained) -> Tuned:
  """Searches as the model's `config.tune` says.

  The config's schedule is the reference. Both it and the winner are reported on
  images that the search has not seen, with measured speed.
  """
  config = model.experiment.config
  section, since = config.tune, time.monotonic()
  scorer = ScheduleScorer(model)
  base, best, trials = successive_halving(
    Problem(
      read_schedule(config),
      Goal(section.target, section.factor),
      seconds=functools.cache(scorer.seconds),
      distance=scorer.distance,
      vary=functools.partial(space.vary, limits(config)),
    ),
    candidates=section.candidates,
    images=section.images,
    rounds=section.rounds,
    rng=np.random.default_rng(config.seed),
    report=_report,
  )
  search = {
    "seconds": round(time.monotonic() - since, 1),
    "images_scored": scorer.images_scored,
    "evaluations_by_resolution": dict(scorer.maker.evaluated),
  }
  rows = _compare(scorer, {"config": base, "best": best}, section.images)
  record = {
    "target": section.target,
    "factor": section.factor,
    "step": model.step,
    "metric": scorer.metric,
    "images": section.images,
    "schedules": rows,
    "search": search,
    "trials": [
      {**t._asdict(), "schedule": scorer.record(t.schedule)} for t in trials
    ],
    "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    "protocol": scorer.protocol,
  }
  return Tuned(rows["best"]["overrides"], record)


def _compare(
  scorer: ScheduleScorer, trials: dict[str, Trial], images: int
) -> dict[str, dict[str, Any]]:
  """Distances on unseen images, and measured speeds."""
  speeds = scorer.images_per_second([t.schedule for t in trials.values()])
  return {
    name: {
      **scorer.record(trial.schedule),
      "images_per_second": speed,
      "distance_in_search": trial.distance,
      "distance": scorer.distance(trial.schedule, images, images),
    }
    for (name, trial), speed in zip(trials.items(), speeds, strict=True)
  }


def _report(trial: Trial) -> None:
  console.say(
    f"{trial.images:6} images: {trial.distance:9.4f} at "
    f"{1 / trial.seconds:8.1f} images/s  {space.name(trial.schedule)}"
  )
