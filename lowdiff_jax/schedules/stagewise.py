"""Images of many cascades on common seeds: what two share is made once.

A search tries cascades that differ in one stage or in a grid of noise levels.
Here a stage is a program of its own, whose noise levels are arguments: other
levels need no other program, and stages before the one that differs need not
run again. The images are those of `generator.Generator`.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lowdiff_jax import console
from lowdiff_jax.diffusion import noise
from lowdiff_jax.diffusion.cascade import Stage, cascade
from lowdiff_jax.distributed import over_devices, replicated
from lowdiff_jax.generate.generator import Generator
from lowdiff_jax.profiling.throughput import evaluation_inputs
from lowdiff_jax.types import Array, Batch, ImageSet

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
    self._seed, self._batch_size = np.uint32(seed), batch_size
    self._programs: dict[Any, Callable] = {}
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
    low_res = None
    for k, stage in enumerate(stages):
      key = (tuple(s.identity() for s in stages[: k + 1]), begin)
      if key in self._images:
        low_res = self._images[key]
        continue
      indices = self._indices(begin)
      labels = self._generator.labels(indices)
      low_res = self._program(stage, low_res is not None)(
        (
          self._params,
          self._seed,
          jnp.asarray(stage.sigmas, jnp.float32),
          stage.low_res_sigma,
        ),
        (indices, labels, low_res),
      )
      made = self._batch_size * stage.nfe
      side = stage.resolution
      self.evaluated[side] = self.evaluated.get(side, 0) + made
      if k < len(stages) - 1:
        self._images[key] = low_res = np.asarray(low_res)
    return low_res

  def _program(self, stage: Stage, conditioned: bool) -> Callable[..., Any]:
    # Noise levels are arguments of the program, all else is part of it.
    key = (stage.program(), conditioned)
    if key not in self._programs:

      def on_device(shared: Any, batch: Any) -> Array:
        params, seed, sigmas, low_res_sigma = shared
        indices, labels, low_res = batch
        (image,), _ = cascade(
          self._generator.bind(params),
          noise.image_keys(seed, indices),
          [stage._replace(sigmas=sigmas, low_res_sigma=low_res_sigma)],
          channels=self._generator.spec.channels,
          label=labels,
          low_res=low_res,
        )
        return image

      everywhere = replicated(self._generator.mesh)
      self._programs[key] = console.Compiling(
        f"a stage of {stage.resolution}x{stage.resolution}",
        over_devices(on_device, self._generator.mesh),
        out_shardings=everywhere,
      )
    return self._programs[key]

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
