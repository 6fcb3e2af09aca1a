"""What the modes that compare schedules ask of one: how good, how fast."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from lowdiff_jax.diffusion.cascade import Stage
from lowdiff_jax.distributed import agree
from lowdiff_jax.experiment import make_evaluator, trained
from lowdiff_jax.experiment.schedule import Schedule, overrides, schedule_stages
from lowdiff_jax.metrics import table
from lowdiff_jax.profiling import flops, throughput
from lowdiff_jax.schedules.stagewise import Stagewise


class Judge:
  """Scores and times schedules of a trained model.

  Attributes:
    step: of the checkpoint.
    metric: which of the evaluator's figures is the distance, once it was used.
    protocol: of the evaluator.
    maker: of the images; it counts what they cost.
    images_scored: how many.
  """

  def __init__(self, config: ConfigDict, workdir: Path):
    """Loads the newest checkpoint of the workdir."""
    self._config = config
    self._experiment, self._params, self.step = trained.load(config, workdir)
    self._evaluator = make_evaluator(config, parts=self._experiment)
    self.protocol, self.metric = self._evaluator.protocol, ""
    self.images_scored = 0
    spec, section = self._experiment.spec, config.sampling
    self.maker = Stagewise(
      self._experiment.bind,
      self._params,
      channels=spec.channels,
      upsample=self._experiment.upsample,
      decode=self._experiment.codec.decode,
      mesh=self._experiment.mesh,
      seed=section.seed,
      num_classes=spec.num_classes,
      batch_size=trained.batch_size(section.batch_size),
    )

  def stages(self, schedule: Schedule) -> tuple[Stage, ...]:
    """Of sampling."""
    return schedule_stages(self._config, schedule)

  def seconds(self, schedule: Schedule) -> float:
    """Of an image, estimated from its evaluations."""
    return agree(self.maker.seconds(self.stages(schedule)))

  def distance(self, schedule: Schedule, images: int, first: int = 0) -> float:
    """The Frechet distance of images first ... first + images - 1."""
    pictures = self.maker.pictures(self.stages(schedule), images, first)
    values = self._evaluator.score(pictures).values
    self.images_scored += images
    if not values:  # Process 0 knows.
      return agree(0.0)
    self.metric = table.distance_of(values)
    return agree(values[self.metric])

  def images_per_second(self, schedules: Sequence[Schedule]) -> list[float]:
    """Measured side by side, each cascade being one program."""
    experiment, section = self._experiment, self._config.benchmark
    candidates = [
      throughput.Candidate(
        "",
        stages,
        experiment.generator(stages),
        experiment.bind,
        self._params,
        experiment.codec.decode,
      )
      for stages in map(self.stages, schedules)
    ]
    rows = throughput.benchmark(
      candidates,
      batch_size=trained.batch_size(section.batch_size),
      repeats=section.repeats,
      channels=experiment.spec.channels,
      peak=flops.peak(self._config.model.dtype).flops,
    )
    return [row["images_per_second"] for row in rows]

  def describe(self, schedule: Schedule) -> dict[str, Any]:
    """The overrides that make the config this schedule, and its NFE."""
    nfe = [self.maker.evaluations(stage) for stage in self.stages(schedule)]
    return {"overrides": overrides(self._config, schedule), "nfe": nfe}

  def name(self, schedule: Schedule) -> str:
    """In a few characters: samplers, steps, what differs from no guidance."""
    parts = []
    for stage in map(dict, schedule):
      start = "~" if stage.get("start") == "handoff" else ""
      scale = stage["guidance_scale"]
      guided = "" if scale == 1 else f" x{scale:g}"
      parts.append(f"{start}{stage['steps']} {stage['sampler']}{guided}")
    return " + ".join(parts)
