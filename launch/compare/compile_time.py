"""How long a training step of LightningDiT compiles, by depth.

  python -m launch.compare.compile_time [--size B] [--depths 12 24]

The step trains two resolutions, 8x8 and 16x16 latents: loss, gradient, Adam and
average. Nothing is run and no weight is made. The depths take turns, with the
compilation caches empty each time; printed are the medians of --repeats turns,
the memory that the step needs beside its arguments and results, and each depth
as a multiple of the first.
"""

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lowdiff_jax.diffusion import loss, precondition, pyramid
from lowdiff_jax.models import dit, unified
from lowdiff_jax.train import optimizer, state
from lowdiff_jax.train.step import make_train_step
from lowdiff_jax.types import Array, Batch, Metrics

RESOLUTIONS, CHANNELS, NUM_CLASSES = (8, 16), 32, 1000
PARTS = ("trace", "lower", "compile")


def main() -> int:
  """Prints the table; the exit status."""
  args = _arguments()
  jax.config.update("jax_enable_compilation_cache", False)
  turns: dict[int, list[list[float]]] = {depth: [] for depth in args.depths}
  memory: dict[int, int] = {}
  for _ in range(args.repeats):
    for depth in args.depths:
      seconds, memory[depth] = _measure(args, depth)
      turns[depth].append(seconds)
  medians = {
    depth: [statistics.median(part) for part in zip(*seconds, strict=True)]
    for depth, seconds in turns.items()
  }
  first = medians[args.depths[0]]
  print(
    f"{args.size}/1 on {jax.devices()[0].device_kind}, batch "
    f"{args.batch_size}, {args.dtype}, remat {args.remat}; seconds"
  )
  for depth, median in medians.items():
    parts = (
      f"{part} {s:.2f} ({s / f:.2f}x)"
      for part, s, f in zip(PARTS, median, first, strict=True)
    )
    print(f"depth {depth}: {', '.join(parts)}; {memory[depth] / 2**20:.0f} MiB")
  return 0


def _arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--size", choices=list(dit.SIZES), default="B")
  parser.add_argument("--depths", type=int, nargs="+", default=[12, 24])
  parser.add_argument("--batch-size", type=int, default=8)
  parser.add_argument("--repeats", type=int, default=3)
  parser.add_argument("--remat", choices=list(dit.REMAT), default="none")
  parser.add_argument("--dtype", default="float32")
  return parser.parse_args()


def _measure(args: argparse.Namespace, depth: int) -> tuple[list[float], Any]:
  """Seconds of each part, and the bytes of temporary memory."""
  jax.clear_caches()
  step, inputs = training_step(args, depth)
  clock = [time.perf_counter()]
  traced = jax.jit(step, donate_argnums=0).trace(*inputs)
  clock.append(time.perf_counter())
  lowered = traced.lower()
  clock.append(time.perf_counter())
  compiled = lowered.compile()
  clock.append(time.perf_counter())
  seconds = [end - start for start, end in itertools.pairwise(clock)]
  return seconds, compiled.memory_analysis().temp_size_in_bytes


def training_step(
  args: argparse.Namespace, depth: int
) -> tuple[Callable[..., Any], Any]:
  """The training step, and the shapes of what it takes."""
  _, hidden_size, num_heads = dit.SIZES[args.size]
  backbone = dit.LightningDiT(
    out_channels=CHANNELS,
    hidden_size=hidden_size,
    depth=depth,
    num_heads=num_heads,
    input_size=RESOLUTIONS[-1],
    num_classes=NUM_CLASSES,
    condition_channels=CHANNELS,
    remat=args.remat,
    dtype=jnp.dtype(args.dtype),
  )
  network = unified.UnifiedDenoiser(
    backbone,
    RESOLUTIONS,
    lambda sigma, _: precondition.flow(sigma),
  )
  stages = [
    loss.StageLoss(
      side, args.batch_size, 0.0, 1.0, loss.flow_weight, cosine_weight=1.0
    )
    for side in RESOLUTIONS
  ]

  def gradient(params: Any, key: Array, batch: Batch) -> tuple[Any, Metrics]:
    examples = loss.draw_examples(
      key,
      pyramid.pyramid(batch.image, len(stages)),
      batch.label,
      stages=stages,
      label_dropout=0.1,
    )

    def loss_fn(params: Any) -> tuple[Array, Metrics]:
      denoise = unified.bind(network, params, key)
      return loss.cascade_loss(denoise, examples, stages=stages)

    return jax.grad(loss_fn, has_aux=True)(params)

  adam = optimizer.adam(
    2e-4, warmup_steps=0, betas=(0.9, 0.95), eps=1e-8, clip_norm=jnp.inf
  )
  step = make_train_step(gradient, adam, ema_half_life=7e6, ema_ramp=jnp.inf)

  def inputs() -> tuple[state.TrainState, Array, Batch]:
    key = jax.random.key(0)
    params = unified.init_params(network, key, CHANNELS)
    side = RESOLUTIONS[-1]
    image = jnp.zeros((args.batch_size, side, side, CHANNELS))
    label = jnp.zeros(args.batch_size, jnp.int32)
    return state.create(params, adam), key, Batch(image, label)

  return step, jax.eval_shape(inputs)


if __name__ == "__main__":
  sys.exit(main())
