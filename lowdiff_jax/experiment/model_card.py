"""The model card that accompanies exported weights."""

import jax

from lowdiff_jax.experiment import identity
from lowdiff_jax.experiment.schema import resolutions
from lowdiff_jax.experiment.trained import Trained

NETWORKS = {"unet": "EDM U-Net (DDPM++)", "dit": "LightningDiT"}


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
    f"# LowDiff cascade {sides}",
    "",
    "A unified multi-scale denoiser that generates images as a cascade of",
    "increasing resolutions (LowDiff, arXiv 2509.15342), trained with",
    f"lowdiff_jax {code['version']}.",
    "",
    "| | |",
    "| --- | --- |",
    f"| network | {NETWORKS[config.model.backbone]}, {count:,} parameters |",
    f"| resolutions | {', '.join(map(str, resolutions(config)))} |",
    f"| images | {_space(model)}, {spec.channels} channels, {labels} |",
    f"| data | {config.data.source} |",
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
