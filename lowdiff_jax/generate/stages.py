"""A stage of a cascade as a program of its own."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from lowdiff_jax import console
from lowdiff_jax.diffusion import noise
from lowdiff_jax.diffusion.cascade import Stage, cascade
from lowdiff_jax.distributed import over_devices, replicated
from lowdiff_jax.generate.generator import Generator
from lowdiff_jax.types import Array


class StagePrograms:
  """Runs single stages; the images are those of `Generator`'s cascades.

  Noise levels and their number are arguments of a program, so that others need
  no other one; solver, start and guidance are part of it.
  """

  def __init__(self, generator: Generator, params: Any):
    self._generator, self._params = generator, params
    self._programs: dict[Any, Callable[..., Array]] = {}

  def run(
    self,
    stage: Stage,
    seed: int,
    indices: np.ndarray,
    labels: np.ndarray,
    low_res: Any = None,
  ) -> Array:
    """The images after a stage, in the denoiser's units.

    Args:
      stage: the stage.
      seed: of the images.
      indices: [B] of the images; B is a multiple of the number of devices.
      labels: [B].
      low_res: [B,h,w,C], the images of the stage before; None for none.

    Returns:
      [B,R,R,C].
    """
    return self._program(stage, low_res is not None)(
      (
        self._params,
        np.uint32(seed),
        jnp.asarray(stage.sampler.padded(stage.sigmas), jnp.float32),
        stage.low_res_sigma,
        stage.steps,
      ),
      (indices, labels, low_res),
    )

  def _program(self, stage: Stage, conditioned: bool) -> Callable[..., Array]:
    key = (stage.program(), conditioned)
    if key not in self._programs:

      def on_device(shared: Any, batch: Any) -> Array:
        params, seed, sigmas, low_res_sigma, num_steps = shared
        indices, labels, low_res = batch
        given = stage._replace(
          sigmas=sigmas,
          low_res_sigma=low_res_sigma,
          num_steps=num_steps if stage.sampler.any_steps else None,
        )
        (image,), _ = cascade(
          self._generator.bind(params),
          noise.image_keys(seed, indices),
          [given],
          channels=self._generator.spec.channels,
          label=labels,
          low_res=low_res,
        )
        return image

      self._programs[key] = console.Compiling(
        f"a stage of {stage.resolution}x{stage.resolution}",
        over_devices(on_device, self._generator.mesh),
        out_shardings=replicated(self._generator.mesh),
      )
    return self._programs[key]
