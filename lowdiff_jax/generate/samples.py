"""Generated images as an array that knows its stages."""

from typing import Any

import numpy as np

from lowdiff_jax.generate.generator import Generated


class Samples(np.ndarray):
  """Generated images, [N,R,R,C] uint8, with the stages before.

  Attributes:
    stages: the images after each stage, [N,R_k,R_k,C] uint8, the lowest
      resolution first; the last ones are the array itself. Slices have none.
    labels: [N] int32 classes, -1 for none.
  """

  stages: tuple[np.ndarray, ...]
  labels: np.ndarray

  @classmethod
  def of(cls, generated: Generated) -> "Samples":
    """The images of a generator."""
    samples = generated.stages[-1].view(cls)
    samples.stages, samples.labels = generated.stages, generated.labels
    return samples

  def __array_finalize__(self, parent: Any) -> None:
    self.stages, self.labels = (), np.zeros(0, np.int32)
