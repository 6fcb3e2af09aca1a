"""What training carries from step to step."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax

from lowdiff_jax.types import Array


class TrainState(NamedTuple):
  """Arrays only.

  Attributes:
    step: int32, steps taken; with the seed, the position in the data too.
    images_seen: uint32.
    params: of the denoiser.
    ema_params: their moving average, which samples are drawn from.
    opt_state: of the optimizer.
  """

  step: Array
  images_seen: Array
  params: Any
  ema_params: Any
  opt_state: Any


def create(params: Any, optimizer: optax.GradientTransformation) -> TrainState:
  """The state before the first step."""
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    images_seen=jnp.zeros((), jnp.uint32),
    params=params,
    # Under jit these are buffers of their own, as donating both demands.
    ema_params=params,
    opt_state=optimizer.init(params),
  )
