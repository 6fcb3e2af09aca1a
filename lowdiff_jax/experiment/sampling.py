"""From a config to the stages of sampling."""

import functools

from ml_collections import ConfigDict

from lowdiff_jax.diffusion import guidance, noise, sampler
from lowdiff_jax.diffusion.cascade import Stage


def sampling_stages(config: ConfigDict) -> tuple[Stage, ...]:
  """The cascade; or the baseline, if the config is not of a cascade."""
  if not config.cascade:
    return order_stages(config) or (baseline_stage(config),)
  section, stages = config.sampling, []
  for k, resolution in enumerate(config.stages.resolutions):
    stages.append(
      Stage(
        resolution=resolution,
        sigmas=_sigmas(
          config, section.steps[k], lambda field, k=k: section[field][k]
        ),
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
    sigmas=_sigmas(config, steps or section.steps, lambda f: section[f]),
    sampler=sampler.SAMPLERS[sampler_name or section.sampler],
    guide=_guide(config, -1),
  )


def order_stages(config: ConfigDict) -> tuple[Stage, ...]:
  """The baseline's network at the resolutions of `config.baseline.order`.

  Nothing is trained for it. A stage goes from sigma_max down to sigma_min and
  on to the clean estimate D(x; sigma_min), which the next one takes at its own
  resolution, noised to its sigma_max: 32 -> 16 -> 32 is Bottleneck Sampling
  (arXiv 2503.18940).

  Args:
    config: the config.

  Returns:
    The stages; none if the order is empty.
  """
  section = config.baseline
  if not section.get("order"):
    return ()
  plan = zip(
    section.order,
    section.order_steps,
    section.order_sigma_min,
    section.order_sigma_max,
    strict=True,
  )
  return tuple(
    Stage(
      resolution=side,
      sigmas=noise.karras_sigmas(steps, low, high, section.rho),
      sampler=sampler.SAMPLERS[section.sampler],
      start="handoff" if k else "noise",
      guide=_guide(config, config.stages.resolutions.index(side)),
    )
    for k, (side, steps, low, high) in enumerate(plan)
  )


def _sigmas(config, steps, value):
  """The grid of a stage; value(field) is what the config says for it."""
  if config.model.precondition == "flow":
    return noise.flow_sigmas(steps, value("sigma_max"), value("shift"))
  return noise.karras_sigmas(
    steps, value("sigma_min"), value("sigma_max"), value("rho")
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
  section, channels = config.sampling, None
  if config.model.backbone == "dit" and section.guidance_channels:
    channels = section.guidance_channels
  return functools.partial(
    guidance.classifier_free,
    scale=section.guidance_scale[stage],
    interval=section.guidance_interval,
    channels=channels,
  )
