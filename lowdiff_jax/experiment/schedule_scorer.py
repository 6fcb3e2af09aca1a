"""How good and how fast a schedule of a trained model is."""

from collections.abc import Sequence
from typing import Any

from lowdiff_jax import console
from lowdiff_jax.diffusion.cascade import Stage
from lowdiff_jax.distributed import agree
from lowdiff_jax.experiment.evaluation import make_evaluator
from lowdiff_jax.experiment.schedule import overrides, schedule_stages
from lowdiff_jax.experiment.trained import Trained
from lowdiff_jax.metrics import table
from lowdiff_jax.profiling import flops, throughput
from lowdiff_jax.schedules.space import Schedule
from lowdiff_jax.schedules.stagewise import Stagewise


class ScheduleScorer:
  """Scores and times schedules of a trained model.

  Attributes:
    metric: which of the evaluator's metrics is the distance, once it was used.
    protocol: of the evaluator.
    maker: of the images; it counts their evaluations.
    images_scored: how many.
  """

  def __init__(self, model: Trained):
    """Opens the evaluator of the model's config."""
    self._model = model
    self._evaluator = make_evaluator(
      model.experiment.config, parts=model.experiment
    )
    self.protocol, self.metric = self._evaluator.protocol, ""
    self.images_scored = 0
    section = model.experiment.config.sampling
    self.maker = Stagewise(
      model.experiment.generator,
      model.params,
      seed=section.seed,
      batch_size=model.batch_size(section.batch_size),
    )

  def stages(self, schedule: Schedule) -> tuple[Stage, ...]:
    """The stages of sampling of a schedule."""
    return schedule_stages(self._model.experiment.config, schedule)

  def seconds(self, schedule: Schedule) -> float:
    """Of an image, estimated from its evaluations."""
    return agree(self.maker.seconds(self.stages(schedule)))

  def distance(self, schedule: Schedule, images: int, first: int = 0) -> float:
    """The Frechet distance of images first ... first + images - 1."""
    made = self.maker.images(self.stages(schedule), images, first)
    values = self._evaluator.score(made).values
    self.images_scored += images
    if not values:  # Process 0 knows.
      return agree(0.0)
    self.metric = table.distance_of(values)
    return agree(values[self.metric])

  @console.taking("timing the sampling")
  def images_per_second(self, schedules: Sequence[Schedule]) -> list[float]:
    """Measured side by side, each cascade being one program."""
    experiment = self._model.experiment
    section = experiment.config.benchmark
    candidates = [
      throughput.Candidate("", stages, experiment.generator, self._model.params)
      for stages in map(self.stages, schedules)
    ]
    rows = throughput.benchmark(
      candidates,
      batch_size=self._model.batch_size(section.batch_size),
      repeats=section.repeats,
      peak=flops.peak(experiment.config.model.dtype).flops,
    )
    return [row["images_per_second"] for row in rows]

  def record(self, schedule: Schedule) -> dict[str, Any]:
    """The overrides that make the config this schedule, and its NFE."""
    nfe = [stage.nfe for stage in self.stages(schedule)]
    config = self._model.experiment.config
    return {"overrides": overrides(config, schedule), "nfe": nfe}
