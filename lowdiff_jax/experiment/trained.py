"""What the modes need of a trained model: its parameters and its images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from lowdiff_jax.data.latents.reader import LatentInfo
from lowdiff_jax.diffusion.cascade import Stage, evaluations
from lowdiff_jax.experiment import Experiment, build_experiment
from lowdiff_jax.generate.generator import Generate, generate_images
from lowdiff_jax.train.checkpoint import Checkpoints
from lowdiff_jax.types import Batch, ImageSpec, Pictures


def load(
  config: ConfigDict, workdir: Path, experiment: Experiment | None = None
) -> tuple[Experiment, Any, int]:
  """The experiment, its averaged parameters and their step.

  Args:
    config: the config.
    workdir: of the run.
    experiment: of the config, if it is built already; the data need not be at
      hand to build it, the checkpoint knows its spec.

  Returns:
    All three.
  """
  checkpoints = Checkpoints(workdir / "checkpoints", create=False)
  wanted = config.sampling.checkpoint
  step = checkpoints.existing_step(None if wanted < 0 else wanted)
  if experiment is None:
    meta = checkpoints.meta(step)
    latents = meta.get("latents")  # Older checkpoints are all of pixels.
    experiment = build_experiment(
      config,
      ImageSpec(**meta["spec"]),
      latents and LatentInfo.from_json(latents),
    )
  params = checkpoints.restore_ema(experiment.state_shapes.ema_params, step)
  checkpoints.close()
  return experiment, params, step


def batch_size(wanted: int, images: int | None = None) -> int:
  """At most as many as there are images, rounded up to fill the devices."""
  size = wanted if images is None else min(wanted, images)
  return -(-size // jax.device_count()) * jax.device_count()


def pictures(
  experiment: Experiment,
  generate: Generate,
  params: Any,
  count: int,
  first: int = 0,
) -> Pictures:
  """Images first ... first + count - 1 of the sampling seed, to be scored."""
  section = experiment.config.sampling
  size = batch_size(section.batch_size, count)

  def read(start):
    for batch in generate_images(
      generate,
      params,
      np.arange(first + start, first + count),
      seed=section.seed,
      batch_size=size,
      num_classes=experiment.spec.num_classes,
      decode=experiment.codec.decode,
      last_only=True,
    ):
      yield Batch(batch.stages[-1], batch.labels)

  return Pictures(count, size, read)


def describe(
  config: ConfigDict, stages: Sequence[Stage]
) -> list[dict[str, Any]]:
  """How each stage samples, in the words of the config."""
  low, high = config.sampling.guidance_interval
  scales = dict(
    zip(config.stages.resolutions, config.sampling.guidance_scale, strict=True)
  )

  def churn(stage):
    return dict(getattr(stage.sampler, "keywords", {}))

  def guidance(scale):
    if scale == 1:
      return "none"
    return f"classifier-free, {scale:g} for sigma in [{low:g}, {high:g}]"

  return [
    {
      "resolution": stage.resolution,
      "sampler": stage.sampler.__name__,
      "steps": len(stage.sigmas) - 1,
      "nfe": evaluations(stage),
      "sigmas": [float(f"{sigma:.4g}") for sigma in stage.sigmas],
      "start": stage.start,
      "low_res_sigma": stage.low_res_sigma,
      **churn(stage),
      "guidance": guidance(scales[stage.resolution]),
    }
    for stage in stages
  ]
