"""Every field of a config and what it may hold."""

import itertools
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from lowdiff_jax.data.images import CROPS
from lowdiff_jax.diffusion.cascade import STARTS
from lowdiff_jax.diffusion.pyramid import UPSAMPLERS
from lowdiff_jax.diffusion.sampler import SAMPLERS
from lowdiff_jax.interfaces import UserError
from lowdiff_jax.models.unet import ENTRIES

# A rule says what a value should have been, or "" if it is fine.
Rule = Callable[[Any], str]


def _text(value):
  return "" if isinstance(value, str) else "a text"


def _flag(value):
  return "" if isinstance(value, bool) else "True or False"


def _integer(low: int) -> Rule:
  def rule(value):
    fine = isinstance(value, int) and not isinstance(value, bool)
    return "" if fine and value >= low else f"an integer of at least {low}"

  return rule


def _number(low: float, high: float = float("inf"), *, above=False) -> Rule:
  def rule(value):
    fine = isinstance(value, (int, float)) and not isinstance(value, bool)
    if fine and (low < value if above else low <= value) and value <= high:
      return ""
    top = "" if high == float("inf") else f" and at most {high:g}"
    return f"a number {'above' if above else 'of at least'} {low:g}{top}"

  return rule


def _choice(*options: str) -> Rule:
  return lambda value: (
    "" if value in options else f"one of {', '.join(options)}"
  )


def _tuple(item: Rule, length: int | None = None) -> Rule:
  def rule(value):
    if not isinstance(value, tuple) or length not in (None, len(value)):
      count = "" if length is None else f"{length} "
      return f"a tuple of {count}values, as in (a, b)"
    wrong = [item(v) for v in value if item(v)]
    return f"a tuple, each value {wrong[0]}" if wrong else ""

  return rule


class _PerStage:
  """A tuple with one value for each stage."""

  def __init__(self, item: Rule):
    self.rule = _tuple(item)


_real = _number(-float("inf"))
_positive = _number(0, above=True)

FIELDS: dict[str, Rule | _PerStage] = {
  "seed": _integer(0),
  # tfds:<name> or folder:<path>; how pictures that are no squares are cropped;
  # where TFDS keeps its sets ("": its default).
  "data.source": _text,
  "data.crop": _choice(*CROPS),
  "data.dir": _text,
  # Part of the images held out of a set without a test split; with 0 all are
  # trained on, and the validation loss is one of training images.
  "data.hold_out": _number(0, 0.5),
  # False: train without the classes that the data has.
  "data.labels": _flag,
  # Probability of each of EDM's geometric distortions in training.
  "data.augment": _number(0, 1),
  # Devices: -1 takes all that the other axis leaves.
  "mesh.data": _integer(-1),
  "mesh.fsdp": _integer(1),
  # False: the last stage alone, sampled as `baseline` says.
  "cascade": _flag,
  # Training of each stage: `images` of each batch train it; ln(sigma) is
  # normal(p_mean, p_std); sigma_data is the root of the mean square of the
  # clean images; the condition's noise has std up to max_low_res_sigma.
  "stages.resolutions": _PerStage(_integer(1)),
  "stages.images": _PerStage(_integer(1)),
  "stages.sigma_data": _PerStage(_positive),
  "stages.p_mean": _PerStage(_real),
  "stages.p_std": _PerStage(_positive),
  "stages.loss_scale": _PerStage(_number(0)),
  "stages.max_low_res_sigma": _PerStage(_number(0)),
  "stages.upsample": _choice(*UPSAMPLERS),
  "model.channels": _integer(4),
  "model.channel_mult": _tuple(_integer(1)),
  "model.num_blocks": _integer(1),
  "model.attn_resolutions": _tuple(_integer(1)),
  "model.dropout": _number(0, 1),
  "model.label_dropout": _number(0, 1),
  "model.entry": _choice(*ENTRIES),
  # Of convolutions and attention; parameters, normalisation, softmax and skips
  # are float32.
  "model.dtype": _choice("float32", "bfloat16"),
  # A file of EDM's published weights to start a new run from; "" for none.
  "model.init_from": _text,
  "optimizer.learning_rate": _positive,
  "optimizer.warmup_images": _number(0),
  "optimizer.betas": _tuple(_number(0, 1), 2),
  "optimizer.eps": _positive,
  "optimizer.clip_norm": _positive,
  "ema.half_life_images": _positive,
  "ema.ramp": _positive,
  # Progress is counted in images.
  "train.images": _positive,
  "train.log_images": _positive,
  "train.evaluate_images": _positive,
  "train.checkpoint_images": _positive,
  "train.keep_checkpoints": _integer(1),
  # Sampling of each stage; sigma_max is where a stage starts.
  "sampling.sampler": _PerStage(_choice(*SAMPLERS)),
  "sampling.steps": _PerStage(_integer(1)),
  "sampling.start": _PerStage(_choice(*STARTS)),
  "sampling.sigma_min": _PerStage(_positive),
  "sampling.sigma_max": _PerStage(_positive),
  "sampling.rho": _PerStage(_positive),
  "sampling.low_res_sigma": _PerStage(_number(0)),
  # EDM's stochastic sampler, for heun: S_churn, (S_tmin, S_tmax), S_noise.
  "sampling.churn": _PerStage(_number(0)),
  "sampling.churn_interval": _tuple(_number(0), 2),
  "sampling.churn_noise": _positive,
  "sampling.guidance_scale": _PerStage(_number(0)),
  "sampling.guidance_interval": _tuple(_number(0), 2),
  # What mode sample makes: images first ... first + images - 1 of the seed, of
  # one class or of all in turn (-1), from a checkpoint or the newest (-1).
  "sampling.images": _integer(1),
  "sampling.first": _integer(0),
  "sampling.seed": _integer(0),
  "sampling.label": _integer(-1),
  "sampling.batch_size": _integer(1),
  "sampling.checkpoint": _integer(-1),
  "sampling.gif": _flag,
  "baseline.sampler": _choice(*SAMPLERS),
  "baseline.steps": _integer(1),
  "baseline.sigma_min": _positive,
  "baseline.sigma_max": _positive,
  "baseline.rho": _positive,
  # Images of a score at the end, of one on the way, and held-out images for
  # the validation loss.
  "evaluation.images": _integer(2),
  "evaluation.images_on_the_way": _integer(2),
  "evaluation.validation_images": _integer(1),
  "benchmark.batch_size": _integer(1),
  "benchmark.repeats": _integer(1),
  # Steps of the baseline with the sampler of the cascade's last stage.
  "benchmark.baseline_steps": _tuple(_integer(1)),
  # Mode upscale: a small image, or a folder of them.
  "upscale.input": _text,
}


def check(config: ConfigDict) -> None:
  """Raises UserError at the first field that is unknown, missing or wrong."""
  values = dict(_leaves(config))
  for name in sorted(values.keys() - FIELDS.keys()):
    raise UserError(
      f"config.{name}: no such field; see lowdiff_jax/build/schema.py"
    )
  for name in sorted(FIELDS.keys() - values.keys()):
    raise UserError(
      f"config.{name} is missing; see lowdiff_jax/build/schema.py"
    )
  for name, rule in FIELDS.items():
    expected = (rule.rule if isinstance(rule, _PerStage) else rule)(
      values[name]
    )
    if expected:
      raise UserError(f"config.{name} = {values[name]!r}: expected {expected}")
  count = len(config.stages.resolutions)
  for name, rule in FIELDS.items():
    if isinstance(rule, _PerStage) and len(values[name]) != count:
      raise UserError(
        f"config.{name} = {values[name]!r}: expected {count} values, one for "
        f"each of config.stages.resolutions = {config.stages.resolutions}"
      )
  _check_resolutions(config)
  _check_sampling(config)


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
  for low, high in zip(section.sigma_min, section.sigma_max, strict=True):
    if low >= high:
      raise UserError("config.sampling.sigma_min must be below sigma_max")
  if config.baseline.sigma_min >= config.baseline.sigma_max:
    raise UserError("config.baseline.sigma_min must be below sigma_max")


def _leaves(config, prefix=""):
  for name, value in config.items():
    if isinstance(value, ConfigDict):
      yield from _leaves(value, f"{prefix}{name}.")
    else:
      yield prefix + name, value


def _check_resolutions(config):
  resolutions = config.stages.resolutions
  if any(b != 2 * a for a, b in itertools.pairwise(resolutions)):
    raise UserError(
      f"config.stages.resolutions = {resolutions}: expected each to be twice "
      "the one before"
    )
  levels = len(config.model.channel_mult)
  if config.model.entry == "matched":
    fits = len(resolutions) <= levels and not resolutions[-1] % 2 ** (
      levels - 1
    )
  else:
    fits = not resolutions[0] % 2 ** (levels - 1)
  if not fits:
    raise UserError(
      f"config.model.channel_mult = {config.model.channel_mult}: {levels} "
      f"levels do not fit the resolutions {resolutions} with "
      f"entry={config.model.entry!r}"
    )
  for level in (*config.model.channel_mult, 1):
    channels = config.model.channels * level
    if channels % min(32, channels // 4):
      raise UserError(
        f"config.model.channels = {config.model.channels}: {channels} channels "
        "do not divide into groups of normalisation; take a multiple of 32"
      )
