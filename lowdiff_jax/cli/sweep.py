"""Mode sweep: quality against speed, of all schedules of a grid."""

import itertools
import statistics
import time
from collections.abc import Iterator
from typing import Any

import jax
from ml_collections import ConfigDict

from lowdiff_jax import console, files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.distributed import is_main
from lowdiff_jax.experiment.named_models import load_for
from lowdiff_jax.experiment.parts import check_guidance
from lowdiff_jax.experiment.schedule import read_schedule
from lowdiff_jax.experiment.schedule_scorer import ScheduleScorer
from lowdiff_jax.schedules import space
from lowdiff_jax.schedules.space import Schedule


def run(config: ConfigDict, workdir: AnyPath) -> None:
  """Scores and times the grid; writes workdir/sweep.json and sweep.png."""
  model, section = load_for(config, workdir), config.evaluation
  for scale in config.sweep.guidance_scale:
    spec = model.experiment.spec
    check_guidance(config, spec, "sweep.guidance_scale", scale)
  scorer = ScheduleScorer(model)
  schedules = list(dict.fromkeys(grid(config)))
  since, rows = time.monotonic(), []
  for schedule in schedules:
    distances = [
      scorer.distance(schedule, section.images, k * section.images)
      for k in range(section.seed_ranges)
    ]
    mean = statistics.mean(distances)
    std = statistics.stdev(distances) if len(distances) > 1 else None
    rows.append(
      {
        "name": space.name(schedule),
        **scorer.record(schedule),
        "distance": mean,
        "std": std,
        "distances": distances,
      }
    )
    console.say(f"{mean:9.4f}  {rows[-1]['name']}")
  seconds = time.monotonic() - since
  for row, speed in zip(rows, scorer.images_per_second(schedules), strict=True):
    row["images_per_second"] = speed
  if not is_main():
    return
  record = {
    "curve": workdir.name,
    "metric": f"{scorer.metric}_of_{section.images}_images",
    "step": model.step,
    "seed_ranges": section.seed_ranges,
    "seconds": round(seconds, 1),
    "images_scored": scorer.images_scored,
    "evaluations_by_resolution": dict(scorer.maker.evaluated),
    "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    "rows": rows,
    "protocol": scorer.protocol,
  }
  path = workdir / "sweep.json"
  files.write_json(path, record)
  # matplotlib takes a while to import, and no other mode draws.
  from lowdiff_jax.schedules import pareto

  points = pareto.read([str(path)])
  print(pareto.table(points))
  figure = path.with_suffix(".png")
  pareto.draw(points, figure, title=workdir.name, metric=record["metric"])
  print(f"in full: {path}, {figure}")


def grid(config: ConfigDict) -> Iterator[Schedule]:
  """All combinations of `config.sweep`: sampler, steps, start and guidance.

  With start "noise", each stage after the first starts at the baseline's
  sigma_max, halved with each halving of the resolution; with "handoff", it
  starts by a handoff at its own sigma_max.
  """
  section, base = config.sweep, read_schedule(config)
  if config.cascade:
    steps, starts = section.steps, section.start
  else:
    steps, starts = [(n,) for n in section.baseline_steps], ("noise",)
  for choice in itertools.product(
    section.sampler, steps, starts, section.guidance_scale
  ):
    yield tuple(
      _stage(config, k, stage, choice) for k, stage in enumerate(base)
    )


def _stage(
  config: ConfigDict,
  k: int,
  stage: tuple[tuple[str, Any], ...],
  choice: tuple[str, tuple[int, ...], str, float],
) -> tuple[tuple[str, Any], ...]:
  sampler, steps, start, scale = choice
  changed = {"sampler": sampler, "steps": steps[k], "guidance_scale": scale}
  if k and start == "noise":
    halvings = len(config.stages) - 1 - k
    sigma_max = config.baseline.sigma_max / 2**halvings
    changed.update({"start": "noise", "sigma_max": sigma_max})
  elif k:
    changed["start"] = start
  return space.frozen({**dict(stage), **changed})
