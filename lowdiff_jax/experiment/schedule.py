"""The schedule of a cascade: what of a config decides how its stages sample."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from lowdiff_jax.diffusion.cascade import Stage
from lowdiff_jax.experiment.sampling import sampling_stages
from lowdiff_jax.types import UserError

# Fields of a stage that are varied, in `sampling` or in `baseline`, if the
# config has them.
FIELDS = (
  "sampler",
  "steps",
  "start",
  "sigma_max",
  "sigma_min",
  "rho",
  "shift",
  "low_res_sigma",
  "guidance_scale",
)
# How far the grid of noise levels moves in a variation.
FACTORS = (0.5, 0.7, 1.4, 2.0)
# A stage with any other sampler was trained for that one.
SAMPLERS = ("dpmpp_2m", "heun", "euler")
RHOS = (1.0, 2.0, 3.0, 5.0, 7.0, 10.0)
LOW_RES_SIGMAS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2)
GUIDANCE_SCALES = (1.0, 1.25, 1.5, 2.0, 2.5)

# Each stage's fields and their values, hashable.
Schedule = tuple[tuple[tuple[str, Any], ...], ...]


def read_schedule(config: ConfigDict) -> Schedule:
  """What a config says; of one stage, if it is not of a cascade.

  Raises:
    UserError: the baseline runs through an order of resolutions.
  """
  if config.baseline.get("order") and not config.cascade:
    raise UserError(
      f"config.baseline.order = {config.baseline.order}: an order is neither "
      "swept nor tuned; set it to ()"
    )
  sampling = config.sampling
  if not config.cascade:
    fields = [f for f in FIELDS if f in config.baseline]
    stage = {f: config.baseline[f] for f in fields}
    return (_frozen({**stage, "guidance_scale": sampling.guidance_scale[-1]}),)
  fields = [f for f in FIELDS if f in sampling]
  return tuple(
    _frozen({f: sampling[f][k] for f in fields})
    for k in range(len(config.stages.resolutions))
  )


def overrides(config: ConfigDict, schedule: Schedule) -> dict[str, Any]:
  """The fields of the config, "sampling.steps", that make it this schedule."""
  stages = [dict(stage) for stage in schedule]
  if config.cascade:
    return {f"sampling.{f}": tuple(s[f] for s in stages) for f in stages[0]}
  (stage,) = stages
  scales = config.sampling.guidance_scale
  guidance = (*scales[:-1], stage.pop("guidance_scale"))
  fields = {f"baseline.{f}": value for f, value in stage.items()}
  return {**fields, "sampling.guidance_scale": guidance}


def scheduled(config: ConfigDict, schedule: Schedule) -> ConfigDict:
  """A copy of the config with this schedule."""
  config = config.copy_and_resolve_references()
  config.update_from_flattened_dict(overrides(config, schedule))
  return config


def schedule_stages(
  config: ConfigDict, schedule: Schedule
) -> tuple[Stage, ...]:
  """The stages of sampling."""
  return sampling_stages(scheduled(config, schedule))


def vary(
  config: ConfigDict, schedule: Schedule, rng: np.random.Generator
) -> Schedule:
  """Another schedule, near by: about two fields of a stage are changed.

  Steps change by up to a factor of 2 (at least by one), noise levels by one of
  `FACTORS`, other fields to the next value up or down of their scale. Samplers
  that churn stay.

  Args:
    config: the limits: no more noise on the condition than was trained, no
      guidance without a network that was trained for it.
    schedule: where to start.
    rng: of the choices.

  Returns:
    The schedule, which may be `schedule`.
  """
  stages = [dict(stage) for stage in schedule]
  for _ in range(rng.integers(1, 4)):
    k = int(rng.integers(len(stages)))
    field = str(rng.choice(_fields(config, stages[k], k)))
    stages[k][field] = _value(config, stages[k], field, k, rng)
    low, high = stages[k].get("sigma_min", 0.0), stages[k]["sigma_max"]
    if low >= high:
      stages[k]["sigma_min"] = high / 10
  return tuple(map(_frozen, stages))


def _fields(config, stage, k):
  """Those that may change; the number of steps decides most, so it is there
  as often as all others together."""
  fields = {"sigma_max", "sigma_min", "rho", "shift"} & stage.keys()
  if k and config.stages.max_low_res_sigma[k] > 0:
    fields.add("low_res_sigma")
  if config.model.label_dropout and config.data.labels:
    fields.add("guidance_scale")
  churns = config.cascade and config.sampling.churn[k]
  if stage["sampler"] in SAMPLERS and not churns:
    fields.add("sampler")
  return sorted(fields) + ["steps"] * len(fields)


def _value(config, stage, field, k, rng):
  """A new value of a field."""
  old = stage[field]
  if field == "steps":
    new = round(old * 2 ** rng.uniform(-1, 1))
    return max(1, new if new != old else old + int(rng.choice([-1, 1])))
  if field in ("sigma_max", "sigma_min", "shift"):
    return float(f"{old * rng.choice(FACTORS):.3g}")
  if field == "sampler":
    return str(rng.choice(SAMPLERS))
  scale = {
    "rho": RHOS,
    "low_res_sigma": LOW_RES_SIGMAS,
    "guidance_scale": GUIDANCE_SCALES,
  }[field]
  if field == "low_res_sigma":
    most = config.stages.max_low_res_sigma[k]
    scale = [value for value in scale if value <= most]
  near = int(np.argmin(np.abs(np.array(scale) - old)))
  return scale[int(np.clip(near + rng.choice([-1, 1]), 0, len(scale) - 1))]


def _frozen(stage: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
  return tuple(stage.items())
