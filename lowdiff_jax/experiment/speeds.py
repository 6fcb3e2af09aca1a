"""Speed of sampling of trained models, side by side."""

from collections.abc import Sequence
from typing import Any

from lowdiff_jax import console
from lowdiff_jax.diffusion.cascade import Stage
from lowdiff_jax.experiment.trained import Trained
from lowdiff_jax.profiling import flops, throughput


class Speeds(list[dict[str, Any]]):
  """A row for each model, see `throughput.benchmark`; as text a table."""

  def __str__(self) -> str:
    return throughput.table([{"scores": None, **row} for row in self])


@console.taking("timing the sampling")
def compare(
  ways: Sequence[tuple[Trained, Sequence[Stage]]], peak: float | None = None
) -> Speeds:
  """Times models in turn, by the `config.benchmark` of the first.

  Args:
    ways: models, and the stages that each samples by.
    peak: FLOP/s of the devices, for the utilisation; None looks it up.

  Returns:
    A row for each.
  """
  first = ways[0][0]
  config = first.experiment.config
  if peak is None:
    peak = flops.peak(config.model.dtype).flops
  candidates = [
    throughput.Candidate(
      _name(model, stages), stages, model.experiment.generator, model.params
    )
    for model, stages in ways
  ]
  return Speeds(
    throughput.benchmark(
      candidates,
      batch_size=first.batch_size(config.benchmark.batch_size),
      repeats=config.benchmark.repeats,
      peak=peak,
    )
  )


def _name(model: Trained, stages: Sequence[Stage]) -> str:
  if model.experiment.config.cascade:
    return "cascade"
  (stage,) = stages
  return f"baseline, {stage.steps} steps of {stage.sampler.name}"
