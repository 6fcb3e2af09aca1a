"""Images of many cascades on common seeds: what two share is made once.

A search tries cascades that differ in one stage or in a grid of noise levels.
Each stage is a program of its own, so that those before the one that differs
need not run again.
"""

import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from lowdiff_jax.diffusion.cascade import Stage
from lowdiff_jax.generate.generator import Generator
from lowdiff_jax.generate.stages import StagePrograms
from lowdiff_jax.profiling.throughput import evaluation_inputs
from lowdiff_jax.types import Batch, ImageSet

# Timed evaluations of the denoiser, after one that is not counted.
REPEATS = 5


class Stagewise:
  """Generates images of cascades with one denoiser, and counts what it cost.

  Attributes:
    evaluated: evaluations of the network at each resolution, over all images.
  """

  def __init__(
    self, generator: Generator, params: Any, *, seed: int, batch_size: int
  ):
    """Builds it.

    Args:
      generator: of the denoiser.
      params: of the denoiser.
      seed: of the images.
      batch_size: a multiple of the number of devices.
    """
    self._generator, self._params = generator, params
    self._seed, self._batch_size = seed, batch_size
    self._programs = StagePrograms(generator, params)
    self._images: dict[Any, np.ndarray] = {}
    self._seconds: dict[Any, float] = {}
    self.evaluated: dict[int, int] = {}

  def images(
    self, stages: Sequence[Stage], count: int, first: int = 0
  ) -> ImageSet:
    """Images first ... first + count - 1 of a cascade, to be scored."""

    def read(start: int) -> Iterator[Batch]:
      for begin in range(first + start, first + count, self._batch_size):
        size = min(self._batch_size, first + count - begin)
        image = self._generate(tuple(stages), begin)
        labels = self._generator.labels(self._indices(begin))
        yield Batch(
          np.asarray(self._generator.decode(image))[:size], labels[:size]
        )

    return ImageSet(count, self._batch_size, read)

  def seconds(self, stages: Sequence[Stage]) -> float:
    """Of an image, by the number of evaluations and what one of them takes."""
    return sum(
      stage.nfe * self._seconds_of_evaluation(stage, k > 0)
      for k, stage in enumerate(stages)
    )

  def _indices(self, begin: int) -> np.ndarray:
    return np.arange(begin, begin + self._batch_size)

  def _generate(self, stages: tuple[Stage, ...], begin: int) -> Any:
    """A batch [B,H,W,C] of the last stage, which is kept unless it is last."""
    low_res: Any = None
    for k, stage in enumerate(stages):
      key = (tuple(s.identity() for s in stages[: k + 1]), begin)
      if key in self._images:
        low_res = self._images[key]
        continue
      indices = self._indices(begin)
      labels = self._generator.labels(indices)
      low_res = self._programs.run(stage, self._seed, indices, labels, low_res)
      made = self._batch_size * stage.nfe
      side = stage.resolution
      self.evaluated[side] = self.evaluated.get(side, 0) + made
      if k < len(stages) - 1:
        self._images[key] = low_res = np.asarray(low_res)
    return low_res

  def _seconds_of_evaluation(self, stage: Stage, conditioned: bool) -> float:
    """Measured with a batch, the median."""
    key = (stage.resolution, conditioned)
    if key not in self._seconds:
      inputs = evaluation_inputs(
        self._batch_size,
        stage.resolution,
        self._generator.spec.channels,
        conditioned,
      )
      run = jax.jit(lambda params, *args: self._generator.bind(params)(*args))
      taken = []
      for _ in range(REPEATS + 1):
        since = time.perf_counter()
        jax.block_until_ready(run(self._params, *inputs))
        taken.append(time.perf_counter() - since)
      self._seconds[key] = statistics.median(taken[1:]) / self._batch_size
    return self._seconds[key]
