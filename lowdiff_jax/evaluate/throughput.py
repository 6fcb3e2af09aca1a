"""Images per second of several samplers, measured side by side."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import monitoring

from lowdiff_jax.diffusion.cascade import Stage, evaluations
from lowdiff_jax.evaluate.generate import Generate
from lowdiff_jax.interfaces import Condition, Denoiser


class Candidate(NamedTuple):
  """One way to generate images.

  Attributes:
    name: for the table.
    stages: what it runs.
    generate: see `generate.make_generate`.
    bind: params -> denoiser.
    params: of the denoiser.
  """

  name: str
  stages: Sequence[Stage]
  generate: Generate
  bind: Callable[[Any], Denoiser]
  params: Any


def benchmark(
  candidates: Sequence[Candidate],
  *,
  batch_size: int,
  repeats: int,
  channels: int,
) -> list[dict[str, Any]]:
  """Times the candidates in turn, so that a drifting machine hits all alike.

  Args:
    candidates: the first one is the cascade; ratios are its speed over theirs.
    batch_size: images in a batch.
    repeats: timed runs of each, after one that is not counted.
    channels: of the images.

  Returns:
    One row for each candidate: images/s (median), NFE and FLOPs per stage,
    compile seconds, bytes of the compiled program.
  """
  rows, calls = [], []
  for candidate in candidates:
    args = (
      candidate.params,
      0,
      np.arange(batch_size),
      np.zeros(batch_size, np.int32),
    )
    program, compile_row = _compile(candidate.generate, args)
    calls.append((program, args))
    rows.append(
      {
        "name": candidate.name,
        **_cost(candidate, batch_size, channels),
        **compile_row,
      }
    )
  seconds = [[] for _ in calls]
  for repeat in range(repeats + 1):
    for times, (program, args) in zip(seconds, calls, strict=True):
      since = time.perf_counter()
      jax.block_until_ready(program(*args))
      if repeat:
        times.append(time.perf_counter() - since)
  for row, times in zip(rows, seconds, strict=True):
    rates = sorted(batch_size / t for t in times)
    row["images_per_second"] = statistics.median(rates)
    row["images_per_second_range"] = [rates[0], rates[-1]]
  for row in rows:
    speed = rows[0]["images_per_second"] / row["images_per_second"]
    row["cascade_speed_ratio"] = speed
  return rows


def _compile(generate, args):
  """The compiled program, and what compiling took."""
  hits = []

  def listener(event, **unused):
    del unused
    hits.append(event)

  monitoring.register_event_listener(listener)
  since = time.perf_counter()
  program = generate.lower(*args).compile()
  seconds = time.perf_counter() - since
  monitoring.unregister_event_listener(listener)
  memory = program.memory_analysis()
  peak = (
    memory.temp_size_in_bytes
    + memory.argument_size_in_bytes
    + memory.output_size_in_bytes
  )
  cached = any(event.endswith("cache_hits") for event in hits)
  return program, {
    "compile_seconds": seconds,
    "compile_from_cache": cached,
    "peak_memory_bytes": peak,
  }


def _cost(candidate, batch_size, channels):
  """NFE of each stage and the FLOPs of an image, from compiled programs."""
  nfe, gflops = {}, {}
  for k, stage in enumerate(candidate.stages):
    name = f"{stage.resolution}x{stage.resolution}"
    shape = (batch_size, stage.resolution, stage.resolution, channels)
    low = (batch_size, stage.resolution // 2, stage.resolution // 2, channels)

    def evaluate(params, noisy, sigma, cond):
      return candidate.bind(params)(noisy, sigma, cond)

    cond = Condition(
      label=jnp.zeros(batch_size, jnp.int32),
      low_res=jnp.zeros(low) if k else None,
      low_res_sigma=jnp.ones(batch_size) if k else None,
    )
    args = (candidate.params, jnp.zeros(shape), jnp.ones(batch_size), cond)
    flops = jax.jit(evaluate).lower(*args).compile().cost_analysis()["flops"]
    nfe[name] = evaluations(stage)
    gflops[name] = nfe[name] * flops / batch_size / 1e9
  return {
    "nfe": nfe,
    "gflop_per_image_by_stage": gflops,
    "gflop_per_image": sum(gflops.values()),
  }


def table(rows: Sequence[dict[str, Any]]) -> str:
  """The rows as text for a terminal; each score, if any, is a column."""
  scores = next((row["scores"] for row in rows if row["scores"]), {})
  header = (
    f"{'':34}{'images/s':>10}{'cascade is':>12}{'NFE':>8}"
    f"{'GFLOP/image':>13}{'MiB':>7}{'compile s':>11}"
  )
  lines = [header + "".join(f"{name:>18}" for name in scores)]
  for row in rows:
    nfe = "+".join(str(n) for n in row["nfe"].values())
    cached = "*" if row["compile_from_cache"] else " "
    line = (
      f"{row['name']:34}{row['images_per_second']:10.1f}"
      f"{row['cascade_speed_ratio']:11.2f}x{nfe:>8}"
      f"{row['gflop_per_image']:13.4f}{row['peak_memory_bytes'] / 2**20:7.1f}"
      f"{row['compile_seconds']:10.1f}{cached}"
    )
    values = (row["scores"] or dict.fromkeys(scores, "-")).values()
    lines.append(
      line + "".join(f"{v:>18}" if v == "-" else f"{v:18.4f}" for v in values)
    )
  if any(row["compile_from_cache"] for row in rows):
    lines.append("* read from the compilation cache")
  return "\n".join(lines)
