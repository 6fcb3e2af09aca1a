"""The training loop: steps, logs, evaluations, checkpoints, interruptions."""

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from lowdiff_jax import console
from lowdiff_jax.train.checkpoint import Checkpoints
from lowdiff_jax.train.preemption import StopSignal
from lowdiff_jax.train.state import TrainState
from lowdiff_jax.train.step import TrainStep
from lowdiff_jax.train.writer import MetricWriter, NullWriter
from lowdiff_jax.types import Array, Batch, Metrics, UserError


class Schedule(NamedTuple):
  """When training does what, in steps; batch_size is that of all processes.

  `StopSignal` has grace_seconds.
  """

  num_steps: int
  batch_size: int
  log_every: int
  evaluate_every: int
  checkpoint_every: int
  grace_seconds: float = 300.0


class Run(NamedTuple):
  """Where training writes, and what it is watched by.

  Attributes:
    checkpoints: where to save.
    meta: saved with each checkpoint.
    writer: `writer.MetricWriter`.
    evaluate: state -> metrics to log; writes its own images.
  """

  checkpoints: Checkpoints
  meta: dict[str, Any]
  writer: MetricWriter | NullWriter
  evaluate: Callable[[TrainState], Metrics]


def train(
  state: TrainState,
  *,
  train_step: TrainStep,
  batches: Callable[[int], Iterator[Batch]],
  key: Array,
  schedule: Schedule,
  run: Run,
) -> TrainState:
  """Trains until schedule.num_steps have been taken.

  Args:
    state: where to start; donated.
    train_step: jitted, with the state donated.
    batches: step -> iterator over the global batches from that step on.
    key: of the run; step k uses fold_in(key, k).
    schedule: when to log, evaluate, save and stop.
    run: where to write.

  Returns:
    The last state, which is saved.

  Raises:
    UserError: a loss was not finite; the last good checkpoint is kept.
    SystemExit: SIGTERM or Ctrl-C; what was trained is saved.
  """
  step, pending = int(state.step), []
  checkpoints, meta, writer, evaluate = run
  data, since = batches(step), time.perf_counter()
  num_steps, batch_size = schedule.num_steps, schedule.batch_size
  # Of steps with another batch size too, if there were any.
  before = int(state.images_seen) - step * batch_size
  stop = StopSignal(schedule.grace_seconds)
  with stop, _progress_bar(step, schedule) as progress:
    while step < num_steps:
      state, metrics = train_step(state, key, next(data))
      step += 1
      pending.append(metrics)
      last = step == num_steps
      stopping = stop.received(step) and not last
      saving = last or stopping or step % schedule.checkpoint_every == 0
      if saving or step % schedule.log_every == 0:
        means = _finite_means(pending, step, checkpoints)
        seconds = time.perf_counter() - since
        means["images_per_second"] = len(pending) * batch_size / seconds
        seen = before + step * batch_size
        writer.write_scalars(step, {"images": seen, **means})
        progress.set_postfix_str(f"loss {means['loss']:.4f}", refresh=False)
        pending, since = [], time.perf_counter()
      progress.update(batch_size)
      if saving:
        checkpoints.save(state, meta)
      checkpoints.add_manifests()
      if stopping:
        stop.leave(step, checkpoints.wait)
      if last or step % schedule.evaluate_every == 0:
        writer.write_scalars(step, evaluate(state))
        since = time.perf_counter()
  return state


def _progress_bar(step: int, schedule: Schedule) -> tqdm:
  return tqdm(
    total=schedule.num_steps * schedule.batch_size,
    initial=step * schedule.batch_size,
    unit="img",
    unit_scale=True,
    disable=not console.speaks(),
    desc="train",
    mininterval=1.0,
  )


def _finite_means(
  pending: list[Metrics], last_step: int, checkpoints: Checkpoints
) -> Metrics:
  """Means of the metrics since the last log; raises if one is not finite."""
  fetched: list[dict[str, np.ndarray]] = jax.device_get(pending)
  for i, metrics in enumerate(fetched):
    # An infinite gradient spoils the parameters before the loss shows it.
    if not np.isfinite([metrics["loss"], metrics["grad_norm"]]).all():
      step = last_step - len(fetched) + i + 1
      good = checkpoints.latest_step()
      kept = "no checkpoint yet" if good is None else f"step {good} is kept"
      raise UserError(
        f"the loss is not finite at step {step} ({kept}): lower "
        "config.optimizer.learning_rate or config.optimizer.clip_norm"
      )
  return {
    name: float(np.mean([metrics[name] for metrics in fetched]))
    for name in (fetched[0] if fetched else ())
  }
