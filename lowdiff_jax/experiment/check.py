"""Checks a config: the first field that is wrong is named."""

import itertools

import numpy as np
from ml_collections import ConfigDict

from lowdiff_jax.experiment.fields import SCHEMA
from lowdiff_jax.experiment.rules import MOST
from lowdiff_jax.experiment.sampling import noise_levels
from lowdiff_jax.experiment.schema import (
  leaves,
  resolutions,
  stage_names,
  stage_sections,
)
from lowdiff_jax.types import UserError


def check(config: ConfigDict) -> None:
  """Raises UserError at the first field that is unknown, missing or wrong."""
  values = leaves(config)
  _check_resolutions(config)
  fields = {
    name: field for name, field, _ in SCHEMA.fields(values, stage_names(config))
  }
  for name in sorted(values.keys() - fields.keys()):
    SCHEMA.find(name, stage_names(config))
    raise UserError(f"config.{name}: no such field{SCHEMA.owner(name)}")
  for name in sorted(fields.keys() - values.keys()):
    raise UserError(f"config.{name} is missing; --mode=config lists all fields")
  for name, field in fields.items():
    field.rule.check(f"config.{name}", values[name])
  for name in stage_names(config):
    _check_stage(name, config.stages[name])
  _check_first_stage(config)
  _check_augment(config)
  check_backbone = {"unet": _check_unet, "dit": _check_dit}
  check_backbone[config.model.backbone](config.model, resolutions(config))
  sections = {f"stages.{n}": config.stages[n] for n in stage_names(config)}
  for name, section in {**sections, "baseline": config.baseline}.items():
    _check_levels(f"config.{name}", section, config.model.precondition)
  _check_counts(config)
  count = len(config.stages)
  for steps in config.sweep.steps:
    if len(steps) != count:
      raise UserError(
        f"config.sweep.steps: {steps} are not the steps of {count} stages"
      )


def _check_resolutions(config: ConfigDict) -> None:
  sides = resolutions(config)
  if any(b != 2 * a for a, b in itertools.pairwise(sides)):
    raise UserError(
      f"config.stages: resolutions {sides}: expected each to be twice the one "
      "before"
    )


def _check_stage(name: str, stage: ConfigDict) -> None:
  if stage.min_low_res_sigma > stage.max_low_res_sigma:
    raise UserError(
      f"config.stages.{name}.min_low_res_sigma = {stage.min_low_res_sigma} "
      f"must not be above max_low_res_sigma = {stage.max_low_res_sigma}"
    )
  if stage.churn and stage.sampler != "heun":
    raise UserError(
      f"config.stages.{name}.churn = {stage.churn}: {stage.sampler} cannot "
      "churn, only heun can"
    )


def _check_levels(where: str, section: ConfigDict, precondition: str) -> None:
  if "sigma_min" in section and section.sigma_min >= section.sigma_max:
    raise UserError(
      f"{where}.sigma_min = {section.sigma_min} must be below sigma_max = "
      f"{section.sigma_max}"
    )
  levels = noise_levels(precondition, section, section.steps)
  with np.errstate(all="ignore"):
    falling = np.diff(levels.astype(np.float32)) < 0
  if not (np.isfinite(levels).all() and falling.all()):
    name = "rho" if precondition == "edm" else "shift"
    raise UserError(
      f"{where}.{name} = {section[name]}: the {section.steps} noise levels "
      "from sigma_max on do not fall, as they are rounded; choose less extreme "
      "values"
    )


def _check_counts(config: ConfigDict) -> None:
  """The indices of images must be of 32 bits; the best must have a score."""
  sampling, evaluation = config.sampling, config.evaluation
  if config.train.keep_best and not evaluation.images_during_training:
    raise UserError(
      "config.train.keep_best = True: needs a score; set "
      "config.evaluation.images_during_training above 0"
    )
  if sampling.first_index + sampling.images > MOST:
    raise UserError(
      f"config.sampling.first_index = {sampling.first_index}: with "
      f"sampling.images = {sampling.images} it must not be above {MOST}"
    )
  if evaluation.images * evaluation.seed_ranges > MOST:
    raise UserError(
      f"config.evaluation.seed_ranges = {evaluation.seed_ranges}: times "
      f"evaluation.images = {evaluation.images} it must not be above {MOST}"
    )


def _check_first_stage(config: ConfigDict) -> None:
  first, name = stage_sections(config)[0], stage_names(config)[0]
  if first.target != "image":
    raise UserError(
      f"config.stages.{name}.target = {first.target!r}: the first stage has no "
      "condition that its images could differ from; make it 'image'"
    )
  if first.start != "noise":
    raise UserError(
      f"config.stages.{name}.start = {first.start!r}: the first stage has "
      "nothing to start from but noise"
    )


def _check_augment(config: ConfigDict) -> None:
  latent, dit = config.data.space == "latents", config.model.backbone == "dit"
  if config.data.augment and (latent or dit):
    raise UserError(
      f"config.data.augment = {config.data.augment}: only pixels are "
      "distorted, and only for a U-Net; set it to 0"
    )


def _check_unet(model: ConfigDict, sides: tuple[int, ...]) -> None:
  levels = len(model.channel_mult)
  if model.entry == "matching_level":
    fits = len(sides) <= levels and not sides[-1] % 2 ** (levels - 1)
  else:
    fits = not sides[0] % 2 ** (levels - 1)
  if not fits:
    raise UserError(
      f"config.model.channel_mult = {model.channel_mult}: {levels} levels do "
      f"not fit the resolutions {sides} with entry={model.entry!r}"
    )
  if model.channels % 2:
    raise UserError(
      f"config.model.channels = {model.channels}: half of them embed the noise "
      "level; take a multiple of 32"
    )
  steps = (1, *model.channel_mult)
  # The decoder's blocks see their level's features beside those of a skip.
  beside = [a + b for a, b in itertools.pairwise(steps)]
  levels_of_skips = steps[1:] if model.num_blocks > 1 else steps[-1:]
  for width in (*steps, *beside, *(2 * step for step in levels_of_skips)):
    channels = model.channels * width
    if channels % min(32, channels // 4):
      raise UserError(
        f"config.model.channels = {model.channels}: {channels} channels do not "
        "divide into groups of normalisation; take a multiple of 32"
      )


def _check_dit(model: ConfigDict, sides: tuple[int, ...]) -> None:
  del sides  # Any grid will do.
  if model.hidden_size % (4 * model.num_heads):
    raise UserError(
      f"config.model.num_heads = {model.num_heads}: hidden_size = "
      f"{model.hidden_size} does not divide into heads of a multiple of 4"
    )
