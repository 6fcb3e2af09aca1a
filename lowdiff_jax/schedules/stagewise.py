"""Images of many cascades on common seeds: what two share is made once.

A search tries cascades that differ in one stage or in a grid of noise levels.
Here a stage is a program of its own, whose noise levels are arguments: other
levels need no other program, and stages before the one that differs need not
run again. The images are those of `generator.make_generate`.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lowdiff_jax.diffusion import noise
from lowdiff_jax.diffusion.cascade import Stage, cascade, evaluations
from lowdiff_jax.generate.generator import OVER_DEVICES, labels_of
from lowdiff_jax.profiling.throughput import evaluation_inputs
from lowdiff_jax.types import Array, Batch, Denoiser, Pictures

# Timed evaluations of the denoiser, after one that is not counted.
REPEATS = 5


class Stagewise:
  """Generates images of cascades with one denoiser, and counts what it cost.

  Attributes:
    evaluated: evaluations of the network at each resolution, over all images.
  """

  def __init__(
    self,
    bind: Callable[[Any], Denoiser],
    params: Any,
    *,
    channels: int,
    upsample: Callable[[Array], Array],
    decode: Callable[[Array], Array],
    mesh: Mesh,
    seed: int,
    num_classes: int,
    batch_size: int,
  ):
    """Builds it; see `generator.make_generate` and `generator.generate_images`.

    Args:
      bind: params -> denoiser.
      params: of the denoiser.
      channels: of the image.
      upsample: up2.
      decode: of the codec.
      mesh: the batch is split over all its devices.
      seed: of the images.
      num_classes: 0 without labels.
      batch_size: a multiple of the number of devices.
    """
    self._bind, self._params = bind, params
    self._channels, self._upsample, self._decode = channels, upsample, decode
    self._mesh, self._seed = mesh, seed
    self._num_classes, self._batch_size = num_classes, batch_size
    self._programs: dict[Any, Callable] = {}
    self._images: dict[Any, np.ndarray] = {}
    self._counts: dict[Any, int] = {}
    self._seconds: dict[Any, float] = {}
    self.evaluated: dict[int, int] = {}

  def pictures(
    self, stages: Sequence[Stage], count: int, first: int = 0
  ) -> Pictures:
    """Images first ... first + count - 1 of a cascade, to be scored."""

    def read(start):
      for begin in range(first + start, first + count, self._batch_size):
        size = min(self._batch_size, first + count - begin)
        image = self._generate(tuple(stages), begin)
        labels = labels_of(self._indices(begin), self._num_classes)
        yield Batch(np.asarray(self._decode(image))[:size], labels[:size])

    return Pictures(count, self._batch_size, read)

  def seconds(self, stages: Sequence[Stage]) -> float:
    """Of an image, by the number of evaluations and what one of them takes."""
    return sum(
      self.evaluations(stage) * self._seconds_of_evaluation(stage, k > 0)
      for k, stage in enumerate(stages)
    )

  def evaluations(self, stage: Stage) -> int:
    """NFE of a stage, counted once."""
    key = _identity(stage)
    if key not in self._counts:
      self._counts[key] = evaluations(stage)
    return self._counts[key]

  def _indices(self, begin):
    return np.arange(begin, begin + self._batch_size)

  def _generate(self, stages, begin):
    """A batch [B,H,W,C] of the last stage, which is kept unless it is last."""
    low_res = None
    for k, stage in enumerate(stages):
      key = (tuple(map(_identity, stages[: k + 1])), begin)
      if key in self._images:
        low_res = self._images[key]
        continue
      indices = self._indices(begin)
      labels = labels_of(indices, self._num_classes)
      low_res = self._program(stage, low_res is not None)(
        self._params,
        self._seed,
        indices,
        labels,
        low_res,
        jnp.asarray(stage.sigmas, jnp.float32),
        stage.low_res_sigma,
      )
      made = self._batch_size * self.evaluations(stage)
      side = stage.resolution
      self.evaluated[side] = self.evaluated.get(side, 0) + made
      if k < len(stages) - 1:
        self._images[key] = low_res = np.asarray(low_res)
    return low_res

  def _program(self, stage, conditioned):
    key = (_program_identity(stage), len(stage.sigmas), conditioned)
    if key not in self._programs:

      def run(params, seed, indices, labels, low_res, sigmas, low_res_sigma):
        indices, labels, low_res = jax.lax.with_sharding_constraint(
          (indices, labels, low_res), NamedSharding(self._mesh, OVER_DEVICES)
        )
        (image,), _ = cascade(
          self._bind(params),
          noise.image_keys(seed, indices),
          [stage._replace(sigmas=sigmas, low_res_sigma=low_res_sigma)],
          channels=self._channels,
          label=labels,
          low_res=low_res,
          upsample=self._upsample,
        )
        return image

      everywhere = NamedSharding(self._mesh, PartitionSpec())
      self._programs[key] = jax.jit(run, out_shardings=everywhere)
    return self._programs[key]

  def _seconds_of_evaluation(self, stage, conditioned):
    """Measured with a batch, the median."""
    key = (stage.resolution, conditioned)
    if key not in self._seconds:
      inputs = evaluation_inputs(
        self._batch_size, stage.resolution, self._channels, conditioned
      )
      run = jax.jit(lambda params, *args: self._bind(params)(*args))
      taken = []
      for _ in range(REPEATS + 1):
        since = time.perf_counter()
        jax.block_until_ready(run(self._params, *inputs))
        taken.append(time.perf_counter() - since)
      self._seconds[key] = statistics.median(taken[1:]) / self._batch_size
    return self._seconds[key]


def _program_identity(stage):
  """All of a stage that is no argument of its program."""
  sampler = getattr(stage.sampler, "keywords", {})
  guide = getattr(stage.guide, "keywords", {})
  return (
    stage.resolution,
    stage.sampler.__name__,
    tuple(sorted(sampler.items())),
    stage.start,
    tuple(sorted(guide.items())),
  )


def _identity(stage):
  return (
    _program_identity(stage),
    tuple(np.asarray(stage.sigmas).tolist()),
    stage.low_res_sigma,
  )
