"""Configs of defaults, on which pages (configs/*.py) build."""

from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from lowdiff_jax.experiment.fields import SCHEMA
from lowdiff_jax.experiment.schema import (
  PerStage,
  leaves,
  stage_names,
  stage_sections,
)


def pixels(resolutions: Sequence[int]) -> ConfigDict:
  """Defaults for pixels: an EDM U-Net (arXiv 2206.00364) at these stages."""
  return defaults(resolutions)


def latents(resolutions: Sequence[int], autoencoder: str = "ldm") -> ConfigDict:
  """Defaults for latents: a LightningDiT (arXiv 2501.01423) and its flow.

  Args:
    resolutions: sides of the stages' latents.
    autoencoder: "ldm" or "taef2".

  Returns:
    The config.
  """
  return defaults(
    resolutions,
    **{
      "model.backbone": "dit",
      "model.precondition": "flow",
      "data.space": "latents",
      "autoencoder.kind": autoencoder,
    },
  )


def defaults(resolutions: Sequence[int], **choices: str) -> ConfigDict:
  """A config with every field at its default.

  Args:
    resolutions: sides of the stages' images; each twice the one before.
    **choices: values of the fields that decide which others exist, as in
      {"model.backbone": "dit"}.

  Returns:
    The config.
  """
  names = [f"s{resolution}" for resolution in resolutions]
  values: dict[str, Any] = {
    "model.backbone": "unet",
    "model.precondition": "edm",
    "data.space": "pixels",
    **choices,
  }
  config = ConfigDict()
  for name, field, k in SCHEMA.fields(values, names):
    value = values.get(name, field.default)
    if isinstance(value, PerStage):
      value = value.value(k, len(names))
    *sections, last = name.split(".")
    section = config
    for part in sections:
      if part not in section:
        section[part] = ConfigDict()
      section = section[part]
    section[last] = value
  return config


def of_same_kind(config: ConfigDict) -> ConfigDict:
  """The defaults for the choices and stages of a config."""
  kinds = ("model.backbone", "model.precondition", "data.space")
  values = leaves(config)
  choices = {name: values[name] for name in kinds}
  if "autoencoder.kind" in values:
    choices["autoencoder.kind"] = values["autoencoder.kind"]
  return defaults([int(name[1:]) for name in stage_names(config)], **choices)


def set_stages(config: ConfigDict, **fields: Any) -> None:
  """Sets fields of all stages: a value for all, or a tuple of one for each.

  Args:
    config: changed in place.
    **fields: as in steps=(18, 8), batch_size=512.

  Raises:
    ValueError: a tuple that has not one value for each stage.
  """
  sections = stage_sections(config)
  for name, values in fields.items():
    each = values if isinstance(values, tuple) else (values,) * len(sections)
    if len(each) != len(sections):
      raise ValueError(f"{name}={values}: expected {len(sections)} values")
    for section, value in zip(sections, each, strict=True):
      section[name] = value


def chosen(arguments: str, *known: str) -> set[str]:
  """The arguments of a page, as in --config=configs/cifar10.py:cond,small.

  Args:
    arguments: what stands behind the colon.
    *known: what the page understands.

  Returns:
    The arguments given.

  Raises:
    ValueError: an argument that the page does not know.
  """
  given = set(filter(None, arguments.split(",")))
  if unknown := given - set(known):
    raise ValueError(f"unknown argument {unknown.pop()!r}: {', '.join(known)}")
  return given


def one_gpu(config: ConfigDict, batch_size: int) -> None:
  """Half an EDM U-Net's width and blocks, a twentieth of its images.

  Args:
    config: changed in place.
    batch_size: of all stages.
  """
  config.model.update({"channels": 64, "num_blocks": 2})
  set_stages(config, batch_size=batch_size)
  config.optimizer.warmup_images = 100_000
  config.train.update(
    {
      "images": 10_000_000,
      "evaluate_images": 1_024_000,
      "checkpoint_images": 512_000,
    }
  )
  config.evaluation.images = 10_000


def smoke(config: ConfigDict) -> None:
  """Shrinks any page to seconds, all its code paths kept."""
  later = len(config.stages) - 1
  config.model.update(
    {"hidden_size": 16, "depth": 2, "num_heads": 2}
    if config.model.backbone == "dit"
    else {"channels": 8, "num_blocks": 1, "attn_resolutions": ()}
  )
  set_stages(config, batch_size=8, steps=(3,) + (2,) * later)
  config.sampling.update({"images": 10, "batch_size": 10})
  config.baseline.steps = 3
  config.train.update(
    {
      "images": 80,
      "log_images": 16,
      "evaluate_images": 40,
      "checkpoint_images": 40,
    }
  )
  config.evaluation.update(
    {
      "images": 100,
      "images_during_training": 10,
      "validation_images": 10,
      "inception": "none",
    }
  )
  config.sweep.update(
    {
      "sampler": ("dpmpp_2m",),
      "steps": ((3,) + (2,) * later, (2,) + (1,) * later),
      "baseline_steps": (3, 2),
    }
  )
  config.tune.update({"candidates": 6, "images": 20, "rounds": 2})
  config.benchmark.update(
    {"batch_size": 10, "repeats": 2, "baseline_steps": (3,)}
  )
