"""The space of schedules: how each stage samples, and how that is varied."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

# How far the grid of noise levels moves in a variation.
FACTORS = (0.5, 0.7, 1.4, 2.0)
SAMPLERS = ("dpmpp_2m", "heun", "euler")
RHOS = (1.0, 2.0, 3.0, 5.0, 7.0, 10.0)
LOW_RES_SIGMAS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2)
# More are of no use; a grid of 1e9 would fill the memory.
MAX_STEPS = 10_000
GUIDANCE_SCALES = (1.0, 1.25, 1.5, 2.0, 2.5)

# Each stage's fields and their values, hashable.
Schedule = tuple[tuple[tuple[str, Any], ...], ...]


class Limits(NamedTuple):
  """What the training of a model allows.

  Attributes:
    max_low_res_sigma: of each stage, the most noise on its condition.
    guidance: whether the network was trained for it.
    churns: of each stage, whether its sampler churns; then it stays.
  """

  max_low_res_sigma: tuple[float, ...]
  guidance: bool
  churns: tuple[bool, ...]


def vary(
  limits: Limits, schedule: Schedule, rng: np.random.Generator
) -> Schedule:
  """Another schedule, near by: about two fields of a stage are changed.

  Steps change by up to a factor of 2 (at least by one), noise levels by one of
  `FACTORS`, other fields to the next value up or down of their scale.

  Args:
    limits: what the model was trained for.
    schedule: where to start.
    rng: of the choices.

  Returns:
    The schedule, which may be `schedule`.
  """
  stages = [dict(stage) for stage in schedule]
  for _ in range(rng.integers(1, 4)):
    k = int(rng.integers(len(stages)))
    field = str(rng.choice(_fields(limits, stages[k], k)))
    stages[k][field] = _value(limits, stages[k], field, k, rng)
    low, high = stages[k].get("sigma_min", 0.0), stages[k]["sigma_max"]
    if low >= high:
      stages[k]["sigma_min"] = high / 10
  return tuple(map(frozen, stages))


def frozen(stage: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
  """A stage's fields, hashable."""
  return tuple(stage.items())


def name(schedule: Schedule) -> str:
  """In a few characters: steps, samplers, handoffs (~) and guidance."""
  parts = []
  for stage in map(dict, schedule):
    start = "~" if stage.get("start") == "handoff" else ""
    scale = stage["guidance_scale"]
    guided = "" if scale == 1 else f" x{scale:g}"
    parts.append(f"{start}{stage['steps']} {stage['sampler']}{guided}")
  return " + ".join(parts)


def _fields(limits: Limits, stage: dict[str, Any], k: int) -> list[str]:
  """Those that may change; the number of steps decides most, so it is there
  as often as all others together."""
  fields = {"sigma_max", "sigma_min", "rho", "shift"} & stage.keys()
  if k and limits.max_low_res_sigma[k] > 0:
    fields.add("low_res_sigma")
  if limits.guidance:
    fields.add("guidance_scale")
  if not limits.churns[k]:
    fields.add("sampler")
  return sorted(fields) + ["steps"] * len(fields)


def _value(
  limits: Limits,
  stage: dict[str, Any],
  field: str,
  k: int,
  rng: np.random.Generator,
) -> Any:
  """A new value of a field."""
  old = stage[field]
  if field == "steps":
    new = round(old * 2 ** rng.uniform(-1, 1))
    new = new if new != old else old + int(rng.choice([-1, 1]))
    return int(np.clip(new, 1, MAX_STEPS))
  if field in ("sigma_max", "sigma_min", "shift"):
    return float(f"{old * rng.choice(FACTORS):.3g}")
  if field == "sampler":
    return str(rng.choice(SAMPLERS))
  scale: Sequence[float] = {
    "rho": RHOS,
    "low_res_sigma": LOW_RES_SIGMAS,
    "guidance_scale": GUIDANCE_SCALES,
  }[field]
  if field == "low_res_sigma":
    most = limits.max_low_res_sigma[k]
    scale = [value for value in scale if value <= most]
  near = int(np.argmin(np.abs(np.array(scale) - old)))
  return scale[int(np.clip(near + rng.choice([-1, 1]), 0, len(scale) - 1))]
