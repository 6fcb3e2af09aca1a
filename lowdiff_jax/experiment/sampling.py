"""From a config to the stages of sampling."""

import numpy as np
from ml_collections import ConfigDict

from lowdiff_jax.diffusion import noise
from lowdiff_jax.diffusion.cascade import Stage
from lowdiff_jax.diffusion.guidance import Guidance
from lowdiff_jax.diffusion.sampler import SAMPLERS, Heun, Sampler
from lowdiff_jax.experiment.schema import resolutions, stage_sections


def sampling_stages(config: ConfigDict) -> tuple[Stage, ...]:
  """The cascade; or the baseline, if the config is not of a cascade."""
  if not config.cascade:
    return (baseline_stage(config),)
  return tuple(
    Stage(
      resolution=resolution,
      sigmas=noise_levels(config.model.precondition, section, section.steps),
      sampler=_sampler(config, section),
      start=section.start,
      low_res_sigma=section.low_res_sigma,
      guidance=_guidance(config, section),
    )
    for resolution, section in zip(
      resolutions(config), stage_sections(config), strict=True
    )
  )


def baseline_stage(
  config: ConfigDict, sampler_name: str = "", steps: int = 0
) -> Stage:
  """The top resolution alone, as `config.baseline` says.

  Args:
    config: the config.
    sampler_name: another sampler than the config's.
    steps: another number of steps.

  Returns:
    The stage.
  """
  section = config.baseline
  return Stage(
    resolution=resolutions(config)[-1],
    sigmas=noise_levels(
      config.model.precondition, section, steps or section.steps
    ),
    sampler=SAMPLERS[sampler_name or section.sampler](),
    guidance=_guidance(config, stage_sections(config)[-1]),
  )


def noise_levels(
  precondition: str, section: ConfigDict, steps: int
) -> np.ndarray:
  """The grid of a stage's section or of the baseline's, [steps + 1]."""
  if precondition == "flow":
    return noise.flow_sigmas(steps, section.sigma_max, section.shift)
  return noise.karras_sigmas(
    steps, section.sigma_min, section.sigma_max, section.rho
  )


def _sampler(config: ConfigDict, section: ConfigDict) -> Sampler:
  if section.churn == 0:
    return SAMPLERS[section.sampler]()
  low, high = config.sampling.churn_interval
  return Heun(section.churn, low, high, config.sampling.churn_noise)


def _guidance(config: ConfigDict, section: ConfigDict) -> Guidance:
  channels = config.sampling.get("guidance_channels", 0)
  return Guidance(
    section.guidance_scale,
    config.sampling.guidance_interval,
    channels or None,
  )
