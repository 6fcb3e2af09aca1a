"""Is a config one that can be built? What is wrong is named."""

import itertools

from ml_collections import ConfigDict

from lowdiff_jax.experiment.rules import PerStage
from lowdiff_jax.experiment.schema import FIELDS
from lowdiff_jax.experiment.variants import VARIANTS, owner
from lowdiff_jax.types import UserError


def check(config: ConfigDict) -> None:
  """Raises UserError at the first field that is unknown, missing or wrong."""
  values = dict(_leaves(config))
  fields = dict(FIELDS)
  for chooser, options in VARIANTS.items():
    fields.update(options.get(values.get(chooser), {}))
  for name in sorted(values.keys() - fields.keys()):
    raise UserError(
      f"config.{name}: no such field{owner(name)}; see "
      "lowdiff_jax/experiment/schema.py"
    )
  for name in sorted(fields.keys() - values.keys()):
    raise UserError(
      f"config.{name} is missing; see lowdiff_jax/experiment/schema.py"
    )
  for name, rule in fields.items():
    expected = (rule.rule if isinstance(rule, PerStage) else rule)(values[name])
    if expected:
      raise UserError(f"config.{name} = {values[name]!r}: expected {expected}")
  count = len(config.stages.resolutions)
  for name, rule in fields.items():
    if isinstance(rule, PerStage) and len(values[name]) != count:
      raise UserError(
        f"config.{name} = {values[name]!r}: expected {count} values, one for "
        f"each of config.stages.resolutions = {config.stages.resolutions}"
      )
  _check_stages(config.stages)
  latents, dit = config.data.space == "latents", config.model.backbone == "dit"
  if config.data.augment and (latents or dit):
    raise UserError(
      f"config.data.augment = {config.data.augment}: only pictures are "
      "distorted, and only for a U-Net; set it to 0"
    )
  check_backbone = {"unet": _check_unet, "dit": _check_dit}
  check_backbone[config.model.backbone](config.model, config.stages.resolutions)
  _check_sampling(config)
  for steps in config.sweep.steps:
    if len(steps) != count:
      raise UserError(
        f"config.sweep.steps: {steps} are not the steps of {count} stages"
      )


def _check_stages(section):
  resolutions = section.resolutions
  if any(b != 2 * a for a, b in itertools.pairwise(resolutions)):
    raise UserError(
      f"config.stages.resolutions = {resolutions}: expected each to be twice "
      "the one before"
    )
  if section.target[0] != "image":
    raise UserError(
      f"config.stages.target = {section.target}: the first stage has no "
      "condition that its images could differ from; make it 'image'"
    )
  sigmas = zip(
    section.min_low_res_sigma, section.max_low_res_sigma, strict=True
  )
  if any(low > high for low, high in sigmas):
    raise UserError(
      "config.stages.min_low_res_sigma must not be above max_low_res_sigma"
    )


def _check_sampling(config):
  section = config.sampling
  if section.start[0] != "noise":
    raise UserError(
      f"config.sampling.start = {section.start}: the first stage has nothing "
      "to start from but noise"
    )
  for name, churn in zip(section.sampler, section.churn, strict=True):
    if churn and name != "heun":
      raise UserError(
        f"config.sampling.churn = {section.churn}: {name} cannot churn, only "
        "heun can"
      )
  if config.model.precondition != "edm":
    return
  for low, high in zip(section.sigma_min, section.sigma_max, strict=True):
    if low >= high:
      raise UserError("config.sampling.sigma_min must be below sigma_max")
  if config.baseline.sigma_min >= config.baseline.sigma_max:
    raise UserError("config.baseline.sigma_min must be below sigma_max")
  _check_order(config)


def _check_order(config):
  """The baseline's order of resolutions, if it has one."""
  section, known = config.baseline, config.stages.resolutions
  order = section.order
  for name in ("order_steps", "order_sigma_min", "order_sigma_max"):
    if len(section[name]) != len(order):
      raise UserError(
        f"config.baseline.{name} = {section[name]}: expected {len(order)} "
        f"values, one for each of config.baseline.order = {order}"
      )
  if order and (not set(order) <= set(known) or order[-1] != known[-1]):
    raise UserError(
      f"config.baseline.order = {order}: expected some of "
      f"config.stages.resolutions = {known}, the last one {known[-1]}"
    )
  levels = zip(section.order_sigma_min, section.order_sigma_max, strict=True)
  if any(low >= high for low, high in levels):
    raise UserError(
      "config.baseline.order_sigma_min must be below order_sigma_max"
    )
  if config.model.backbone != "unet":
    return
  halved = 2 ** (len(config.model.channel_mult) - 1)
  if any(side % halved for side in order):
    raise UserError(
      f"config.baseline.order = {order}: the baseline's U-Net halves its image "
      f"to 1/{halved}; take multiples of {halved}"
    )


def _leaves(config, prefix=""):
  for name, value in config.items():
    if isinstance(value, ConfigDict):
      yield from _leaves(value, f"{prefix}{name}.")
    else:
      yield prefix + name, value


def _check_unet(model, resolutions):
  levels = len(model.channel_mult)
  if model.entry == "matched":
    fits = len(resolutions) <= levels and not resolutions[-1] % 2 ** (
      levels - 1
    )
  else:
    fits = not resolutions[0] % 2 ** (levels - 1)
  if not fits:
    raise UserError(
      f"config.model.channel_mult = {model.channel_mult}: {levels} levels do "
      f"not fit the resolutions {resolutions} with entry={model.entry!r}"
    )
  for level in (*model.channel_mult, 1):
    channels = model.channels * level
    if channels % min(32, channels // 4):
      raise UserError(
        f"config.model.channels = {model.channels}: {channels} channels do not "
        "divide into groups of normalisation; take a multiple of 32"
      )


def _check_dit(model, resolutions):
  del resolutions  # Any grid will do.
  if model.hidden_size % (4 * model.num_heads):
    raise UserError(
      f"config.model.num_heads = {model.num_heads}: hidden_size = "
      f"{model.hidden_size} does not divide into heads of a multiple of 4"
    )
