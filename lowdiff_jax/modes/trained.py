"""What the modes need of a trained model: its parameters and its images."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from lowdiff_jax import build
from lowdiff_jax.build import Experiment
from lowdiff_jax.data.latents import LatentInfo
from lowdiff_jax.diffusion.cascade import Stage, evaluations
from lowdiff_jax.evaluate.generate import Generate, generate_images
from lowdiff_jax.interfaces import Batch, Evaluator, ImageSpec
from lowdiff_jax.train.checkpoint import Checkpoints


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
    experiment = build.experiment(
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


def images_to_score(
  experiment: Experiment, generate: Generate, params: Any, count: int
) -> Iterator[Batch]:
  """The first `count` images of the sampling seed, all classes in turn."""
  section = experiment.config.sampling
  for batch in generate_images(
    generate,
    params,
    np.arange(count),
    seed=section.seed,
    batch_size=batch_size(section.batch_size, count),
    num_classes=experiment.spec.num_classes,
    decode=experiment.codec.decode,
    last_only=True,
  ):
    yield Batch(batch.stages[-1], batch.labels)


def make_evaluator(experiment: Experiment, data: build.Data) -> Evaluator:
  """Scores against the training images; the floor is the held-out ones.

  Of latents they are the decoded pictures: what is scored is the denoiser.
  """
  # scikit-learn takes a second to import, and not all modes score.
  from lowdiff_jax.evaluate import features

  codec, most = experiment.codec, experiment.config.evaluation.references

  def pictures(source):
    batch = source.read(np.arange(min(most, len(source))))
    *_, top = jax.tree.leaves(codec.normalise(batch.image))
    return Batch(np.asarray(codec.decode(top)), batch.label)

  return features.make_evaluator(
    pictures(data.train), pictures(data.test), data.train.spec.num_classes
  )


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
