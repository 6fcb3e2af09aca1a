"""From a config to the stages of sampling."""

import functools

from ml_collections import ConfigDict

from lowdiff_jax.diffusion import guidance, noise, sampler
from lowdiff_jax.diffusion.cascade import Stage


def sampling_stages(config: ConfigDict) -> tuple[Stage, ...]:
  """The cascade; or the baseline, if the config is not of a cascade."""
  if not config.cascade:
    return (baseline_stage(config),)
  section, stages = config.sampling, []
  for k, resolution in enumerate(config.stages.resolutions):
    sigmas = noise.karras_sigmas(
      section.steps[k],
      section.sigma_min[k],
      section.sigma_max[k],
      section.rho[k],
    )
    stages.append(
      Stage(
        resolution=resolution,
        sigmas=sigmas,
        sampler=_sampler(section, k),
        start=section.start[k],
        low_res_sigma=section.low_res_sigma[k],
        guide=_guide(config, k),
      )
    )
  return tuple(stages)


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
    resolution=config.stages.resolutions[-1],
    sigmas=noise.karras_sigmas(
      steps or section.steps, section.sigma_min, section.sigma_max, section.rho
    ),
    sampler=sampler.SAMPLERS[sampler_name or section.sampler],
    guide=_guide(config, -1),
  )


def _sampler(section, stage):
  solve = sampler.SAMPLERS[section.sampler[stage]]
  if section.churn[stage] == 0:
    return solve
  low, high = section.churn_interval
  churning = functools.partial(
    solve,
    churn=section.churn[stage],
    churn_min=low,
    churn_max=high,
    churn_noise=section.churn_noise,
  )
  return functools.update_wrapper(churning, solve)  # It keeps its name.


def _guide(config, stage):
  return functools.partial(
    guidance.classifier_free,
    scale=config.sampling.guidance_scale[stage],
    interval=config.sampling.guidance_interval,
  )
