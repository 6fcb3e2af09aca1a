"""An array of generated images with those of the earlier stages."""

from typing import Any

import numpy as np

from lowdiff_jax.generate.generator import Generated


class Samples(np.ndarray):
  """Generated images, [N,R,R,C] uint8.

  Attributes:
    stages: the images after each stage, [N,R_k,R_k,C] uint8, in order; the last
      entry equals the array itself. Empty for slices.
    labels: [N] int32 classes, -1 for none.
  """

  stages: tuple[np.ndarray, ...]
  labels: np.ndarray

  @classmethod
  def of(cls, generated: Generated) -> "Samples":
    """Makes an array of a generator's images."""
    samples = generated.stages[-1].view(cls)
    samples.stages, samples.labels = generated.stages, generated.labels
    return samples

  def __array_finalize__(self, parent: Any) -> None:
    self.stages, self.labels = (), np.zeros(0, np.int32)
