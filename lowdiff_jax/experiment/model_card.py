"""The model card that accompanies exported weights."""

from typing import Any

import jax

from lowdiff_jax.experiment import identity
from lowdiff_jax.experiment.schema import resolutions
from lowdiff_jax.experiment.trained import Trained

NETWORKS = {"unet": "EDM U-Net (DDPM++)", "dit": "LightningDiT"}


_CASCADE = (
  "A unified multi-scale denoiser that generates images as a cascade of",
  "increasing resolutions (LowDiff, arXiv 2509.15342).",
)
_BASELINE = (
  "The network of a LowDiff cascade (arXiv 2509.15342), trained at its last",
  "resolution alone: what the cascade is compared with.",
)


def without_folders(value: Any) -> Any:
  """JSON in which each path is its last part: "folder:/home/me/cats" is
  "folder:cats". A model may be published, and others need not know the folders
  and buckets of the machine that trained it.
  """
  if isinstance(value, dict):
    return {name: without_folders(item) for name, item in value.items()}
  if isinstance(value, list | tuple):
    return [without_folders(item) for item in value]
  if not isinstance(value, str) or "/" not in value:
    return value
  kind, colon, path = value.partition(":")
  if kind not in ("tfds", "folder", "zip", "npz"):
    kind, colon, path = "", "", value
  # What follows a question mark may be the signature of a URL.
  last = path.partition("?")[0].rstrip("/").rpartition("/")[2]
  return kind + colon + last


def model_card(model: Trained) -> str:
  """Markdown: what the model is, how it was trained, how to sample it.

  Begins with the metadata block that model hubs read.
  """
  experiment = model.experiment
  config, spec = experiment.config, experiment.spec
  count = sum(leaf.size for leaf in jax.tree.leaves(model.params))
  sides = " -> ".join(str(stage.resolution) for stage in experiment.stages)
  code = identity.code_version()
  labels = f"{spec.num_classes} classes" if spec.num_classes else "no classes"
  lines = [
    "---",
    "library_name: lowdiff_jax",
    "pipeline_tag: unconditional-image-generation",
    "tags: [diffusion, jax, flax, lowdiff]",
    "---",
    "",
    f"# LowDiff {'cascade' if config.cascade else 'baseline'} {sides}",
    "",
    *(_CASCADE if config.cascade else _BASELINE),
    f"Trained with lowdiff_jax {code['version']}.",
    "",
    "| | |",
    "| --- | --- |",
    f"| network | {NETWORKS[config.model.backbone]}, {count:,} parameters |",
    f"| resolutions | {', '.join(map(str, resolutions(config)))} |",
    f"| images | {_space(model)}, channels: {spec.channels}, {labels} |",
    f"| data | {without_folders(config.data.source)} |",
    f"| images seen in training | {model.images_seen:,} |",
    f"| weights | EMA, half-life {config.ema.half_life_images:,} images |",
    f"| sha256 of the code | {code['sha256']} |",
    "",
    "## Sampling",
    "",
    "| stage | sampler | steps | NFE | start | guidance |",
    "| --- | --- | ---: | ---: | --- | --- |",
  ]
  lines += [
    f"| {stage.resolution}x{stage.resolution} | {stage.sampler.name} | "
    f"{stage.steps} | {stage.nfe} | {stage.start} | {stage.guidance} |"
    for stage in experiment.stages
  ]
  lines += [
    "",
    "```python",
    "import lowdiff_jax as ld",
    "",
    'model = ld.load("path/to/this/folder")',
    f"images = model.sample(16, seed=0)  # uint8 [16,{_side(model)}]",
    "```",
    "",
    "The weights inherit the terms of the data that they were trained on.",
    "",
  ]
  return "\n".join(lines)


def _space(model: Trained) -> str:
  return "pixels" if model.experiment.latents is None else "latents"


def _side(model: Trained) -> str:
  codec = model.experiment.codec
  side = codec.factor * model.experiment.spec.resolution
  return f"{side},{side},{codec.channels}"
