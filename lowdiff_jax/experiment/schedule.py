"""From a config to its schedule, and back."""

from typing import Any

from ml_collections import ConfigDict

from lowdiff_jax.diffusion.cascade import Stage
from lowdiff_jax.experiment.overrides import override
from lowdiff_jax.experiment.sampling import sampling_stages
from lowdiff_jax.experiment.schema import stage_names, stage_sections
from lowdiff_jax.schedules.space import Limits, Schedule, frozen

# Fields that are varied, of a stage or of `baseline`, if it has them.
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


def read_schedule(config: ConfigDict) -> Schedule:
  """The schedule of a config; of one stage, if it is not of a cascade."""
  sections = stage_sections(config)
  if not config.cascade:
    stage = {f: config.baseline[f] for f in FIELDS if f in config.baseline}
    scale = sections[-1].guidance_scale
    return (frozen({**stage, "guidance_scale": scale}),)
  return tuple(
    frozen({f: section[f] for f in FIELDS if f in section})
    for section in sections
  )


def limits(config: ConfigDict) -> Limits:
  """What the training of the config allows its schedules."""
  sections = stage_sections(config)
  if not config.cascade:
    sections = sections[-1:]
  return Limits(
    tuple(section.max_low_res_sigma for section in sections),
    bool(config.model.label_dropout and config.data.labels),
    tuple(bool(config.cascade and section.churn) for section in sections),
  )


def overrides(config: ConfigDict, schedule: Schedule) -> dict[str, Any]:
  """Overrides (full name -> value) that make `config` use this schedule."""
  names, fields = stage_names(config), {}
  if config.cascade:
    for name, stage in zip(names, schedule, strict=True):
      fields.update({f"stages.{name}.{f}": value for f, value in stage})
    return fields
  for field, value in schedule[0]:
    section = "baseline"
    if field == "guidance_scale":
      section = f"stages.{names[-1]}"
    fields[f"{section}.{field}"] = value
  return fields


def schedule_stages(
  config: ConfigDict, schedule: Schedule
) -> tuple[Stage, ...]:
  """The stages of sampling of a schedule."""
  return sampling_stages(override(config, overrides(config, schedule)))
