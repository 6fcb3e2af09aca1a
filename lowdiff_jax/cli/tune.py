"""Mode tune: a better schedule for a trained model, as overrides to paste."""

import functools
import time
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from lowdiff_jax import files
from lowdiff_jax.distributed import is_main
from lowdiff_jax.experiment.judge import Judge
from lowdiff_jax.experiment.schedule import read_schedule, vary
from lowdiff_jax.schedules.search import (
  Goal,
  Problem,
  Trial,
  successive_halving,
)


def run(config: ConfigDict, workdir: Path) -> None:
  """Searches; prints what it found and writes workdir/tune.json.

  The schedule of the config is the one to beat. What is reported of it and of
  the winner is of images that the search has not seen, and of measured speed.
  """
  section, judge, since = config.tune, Judge(config, workdir), time.monotonic()
  base, best, trials = successive_halving(
    Problem(
      read_schedule(config),
      Goal(section.target, section.factor),
      seconds=functools.cache(judge.seconds),
      distance=judge.distance,
      vary=functools.partial(vary, config),
    ),
    candidates=section.candidates,
    images=section.images,
    rounds=section.rounds,
    rng=np.random.default_rng(config.seed),
    report=functools.partial(_report, judge),
  )
  search = {
    "seconds": round(time.monotonic() - since, 1),
    "images_scored": judge.images_scored,
    "evaluations_by_resolution": dict(judge.maker.evaluated),
  }
  rows = _compare(judge, {"config": base, "best": best}, section.images)
  record = {
    "target": section.target,
    "factor": section.factor,
    "step": judge.step,
    "metric": judge.metric,
    "images": section.images,
    "schedules": rows,
    "search": search,
    "trials": [
      {**t._asdict(), "schedule": judge.describe(t.schedule)} for t in trials
    ],
    "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    "protocol": judge.protocol,
  }
  if not is_main():
    return
  path = workdir / "tune.json"
  files.write_json(path, record)
  print(_table(record))
  print("\nTo sample with the best:\n")
  fields = rows["best"]["overrides"].items()
  print(" \\\n".join(f'  --config.{name}="{value}"' for name, value in fields))
  print(f"\nin full: {path}")


def _compare(judge: Judge, trials: dict[str, Trial], images: int):
  """What is true of them beyond the search."""
  speeds = judge.images_per_second([t.schedule for t in trials.values()])
  return {
    name: {
      **judge.describe(trial.schedule),
      "images_per_second": speed,
      "distance_in_search": trial.distance,
      "distance": judge.distance(trial.schedule, images, images),
    }
    for (name, trial), speed in zip(trials.items(), speeds, strict=True)
  }


def _report(judge: Judge, trial: Trial) -> None:
  if is_main():
    print(
      f"{trial.images:6} images: {trial.distance:9.4f} at "
      f"{1 / trial.seconds:8.1f} images/s  {judge.name(trial.schedule)}",
      flush=True,
    )


def _table(record) -> str:
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
