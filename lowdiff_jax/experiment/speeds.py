"""Speed of sampling of trained models, side by side."""

from collections.abc import Sequence
from typing import Any

from lowdiff_jax import console
from lowdiff_jax.experiment.trained import Trained
from lowdiff_jax.profiling import flops, throughput


class Speeds(list[dict[str, Any]]):
  """A row for each model, see `throughput.benchmark`; as text a table."""

  def __str__(self) -> str:
    return throughput.table(self)


@console.taking("timing the sampling")
def compare(models: Sequence[Trained]) -> Speeds:
  """Times models in turn, by the `config.benchmark` of the first."""
  first = models[0]
  config = first.experiment.config
  candidates = [
    throughput.Candidate(
      _name(model),
      model.experiment.stages,
      model.experiment.generator,
      model.params,
    )
    for model in models
  ]
  rows = throughput.benchmark(
    candidates,
    batch_size=first.batch_size(config.benchmark.batch_size),
    repeats=config.benchmark.repeats,
    peak=flops.peak(config.model.dtype).flops,
  )
  return Speeds({**row, "scores": None} for row in rows)


def _name(model: Trained) -> str:
  if model.experiment.config.cascade:
    return "cascade"
  (stage,) = model.experiment.stages
  return f"baseline, {stage.steps} steps of {stage.sampler.name}"
