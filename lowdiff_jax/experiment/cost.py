"""The arithmetic of an experiment, whatever program computes it."""

from lowdiff_jax.experiment.parts import Experiment
from lowdiff_jax.experiment.training import loss_stages
from lowdiff_jax.profiling import throughput


def training_macs(experiment: Experiment) -> int:
  """MACs of a training step: forward, and twice as many backward.

  What the backward pass computes again (model.remat) is not counted, as model
  FLOPs utilisation has it (PaLM, arXiv 2204.02311, appendix B).
  """
  return 3 * sum(
    stage.images
    * throughput.evaluation_cost(
      experiment.generator,
      experiment.state_shapes.params,
      stage.resolution,
      k > 0,
    )
    for k, stage in enumerate(loss_stages(experiment.config))
  )


def sampling_macs(experiment: Experiment) -> float:
  """MACs of an image, sampled by the config's stages and not decoded."""
  cost = throughput.sampling_cost(
    throughput.Candidate(
      "config",
      experiment.stages,
      experiment.generator,
      experiment.state_shapes.params,
    )
  )
  return cost["gflop_per_image"] * 1e9 / 2
