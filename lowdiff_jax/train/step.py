"""One training step of all stages."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lowdiff_jax.train import ema
from lowdiff_jax.train.state import TrainState
from lowdiff_jax.types import Array, Batch, Metrics

GradientFn = Callable[[Any, Array, Batch], tuple[Any, Metrics]]
TrainStep = Callable[[TrainState, Array, Batch], tuple[TrainState, Metrics]]


def make_train_step(
  gradient_fn: GradientFn,
  optimizer: optax.GradientTransformation,
  *,
  ema_half_life: float,
  ema_ramp: float,
  skips: bool = False,
) -> TrainStep:
  """Builds the step; jit it with the state donated.

  Args:
    gradient_fn: (params, key, batch) -> (gradient of the loss, metrics).
    optimizer: applied to the gradient.
    ema_half_life: in images.
    ema_ramp: see `ema.decay`.
    skips: whether a step whose loss or gradient is not finite leaves the
      parameters, their average and the optimizer's state as they were. Its
      images count as seen, and the next step has the next batch.

  Returns:
    (state, key, batch) -> (state, metrics); the step's randomness is a function
    of (key, state.step).
  """

  def train_step(
    state: TrainState, key: Array, batch: Batch
  ) -> tuple[TrainState, Metrics]:
    batch_size = batch.label.shape[0]
    step_key = jax.random.fold_in(key, state.step)
    grads, metrics = gradient_fn(state.params, step_key, batch)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    kept = ema.decay(
      state.images_seen, batch_size, half_life=ema_half_life, ramp=ema_ramp
    )
    new = TrainState(
      step=state.step + 1,
      images_seen=state.images_seen + jnp.uint32(batch_size),
      params=params,
      ema_params=ema.update(state.ema_params, params, kept),
      opt_state=opt_state,
    )
    metrics = {**metrics, "grad_norm": optax.global_norm(grads)}
    return _if_finite(state, new, metrics) if skips else new, metrics

  return train_step


def _if_finite(
  old: TrainState, new: TrainState, metrics: Metrics
) -> TrainState:
  """`new` after a finite step, otherwise `old` with the counters of `new`."""
  values = jnp.stack([metrics["loss"], metrics["grad_norm"]])
  finite = jnp.isfinite(values).all()
  state = jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, old)
  return state._replace(step=new.step, images_seen=new.images_seen)
