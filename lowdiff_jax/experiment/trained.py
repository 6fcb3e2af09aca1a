"""A trained model: the parts of its run and its EMA weights."""

from typing import Any, NamedTuple

import jax
import numpy as np

from lowdiff_jax.diffusion.cascade import Stage
from lowdiff_jax.experiment.parts import Experiment
from lowdiff_jax.generate.generator import Request
from lowdiff_jax.types import ImageSet


class Trained(NamedTuple):
  """A trained model.

  Attributes:
    experiment: its parts.
    params: the EMA weights.
    step: of the checkpoint.
    images_seen: in training, up to then.
    checkpoint_sha256: of the checkpoint's manifest, and so of its content; None
      if it is not from a checkpoint of a run.
  """

  experiment: Experiment
  params: Any
  step: int
  images_seen: int
  checkpoint_sha256: str | None = None

  def batch_size(self, wanted: int, images: int | None = None) -> int:
    """At most as many as there are images, rounded up to fill the devices."""
    size = wanted if images is None else min(wanted, images)
    return -(-size // jax.device_count()) * jax.device_count()

  def request(self, count: int, first: int = 0, label: int = -1) -> Request:
    """Images first ... first + count - 1 of the config's sampling seed."""
    section = self.experiment.config.sampling
    return Request(
      np.arange(first, first + count),
      self.batch_size(section.batch_size, count),
      section.seed,
      label,
    )

  def images(
    self, count: int, first: int = 0, stages: tuple[Stage, ...] | None = None
  ) -> ImageSet:
    """Images to be scored, of all classes in turn; see `request`."""
    generator = self.experiment.generator
    program = generator.program(stages or self.experiment.stages)
    return generator.images(program, self.params, self.request(count, first))
