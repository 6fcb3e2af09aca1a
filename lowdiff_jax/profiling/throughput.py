"""Measures the throughput of sampling, training and decoding."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lowdiff_jax.diffusion.cascade import Stage
from lowdiff_jax.generate.generator import Generator
from lowdiff_jax.profiling import flops
from lowdiff_jax.profiling.compiled import compile_program
from lowdiff_jax.types import Array, Batch, Condition


class Candidate(NamedTuple):
  """One way to generate images.

  Attributes:
    name: name in the table.
    stages: stages of sampling.
    generator: generator of the denoiser.
    params: parameters of the denoiser.
  """

  name: str
  stages: Sequence[Stage]
  generator: Generator
  params: Any


def benchmark(
  candidates: Sequence[Candidate],
  *,
  batch_size: int,
  repeats: int,
  peak: float,
) -> list[dict[str, Any]]:
  """Times candidates in turn, so that drifts of speed affect all equally.

  Args:
    candidates: the first one is the cascade; ratios are its speed over theirs.
    batch_size: images per batch.
    repeats: timed runs of each, after a warm-up run.
    peak: peak FLOP/s of the devices.

  Returns:
    One row for each candidate: median images/s with and without decoding, NFE
    and FLOPs per resolution, model FLOPs utilisation (fraction of `peak` while
    sampling), compile seconds, bytes of memory of the compiled program.
  """
  rows, calls = [], []
  for candidate in candidates:
    args = (
      candidate.params,
      0,
      np.arange(batch_size),
      np.zeros(batch_size, np.int32),
      None,  # Explicit, as in `Generator.generate`: the same program.
    )
    jitted = candidate.generator.program(candidate.stages)
    program, compile_row = compile_program(jitted, args)
    calls.append((candidate.generator.decode, program, args))
    cost = sampling_cost(candidate)
    rows.append({"name": candidate.name, **cost, **compile_row})
  seconds: list[list[tuple[float, float]]] = [[] for _ in calls]
  for repeat in range(repeats + 1):
    for times, (decode, program, args) in zip(seconds, calls, strict=True):
      since = time.perf_counter()
      images, _ = jax.block_until_ready(program(*args))
      sampled = time.perf_counter() - since
      jax.block_until_ready(decode(images[-1]))
      if repeat:
        times.append((time.perf_counter() - since, sampled))
  for row, times in zip(rows, seconds, strict=True):
    rates, sampling = (
      sorted(batch_size / t for t in part) for part in zip(*times, strict=True)
    )
    row["images_per_second"] = statistics.median(rates)
    row["images_per_second_undecoded"] = statistics.median(sampling)
    row["images_per_second_range"] = [rates[0], rates[-1]]
  for row in rows:
    speed = rows[0]["images_per_second"] / row["images_per_second"]
    row["cascade_speed_ratio"] = speed
    row["model_flops_utilisation"] = (
      row["images_per_second_undecoded"] * row["gflop_per_image"] * 1e9 / peak
    )
  return rows


def sampling_cost(candidate: Candidate) -> dict[str, Any]:
  """NFE and FLOPs at each resolution, summed over its stages."""
  nfe: dict[str, int] = {}
  evaluation: dict[str, int] = {}
  gflops: dict[str, float] = {}
  before = 0
  for stage in candidate.stages:
    side = stage.resolution
    name, count = f"{side}x{side}", stage.nfe
    evaluation[name] = evaluation_cost(
      candidate.generator, candidate.params, side, 2 * before == side
    )
    nfe[name] = nfe.get(name, 0) + count
    gflop = 2 * count * evaluation[name] / 1e9
    gflops[name] = gflops.get(name, 0) + gflop
    before = side
  return {
    "nfe": nfe,
    "macs_of_evaluation": evaluation,
    "gflop_per_image_by_stage": gflops,
    "gflop_per_image": sum(gflops.values()),
  }


def evaluation_cost(
  generator: Generator, params: Any, resolution: int, conditioned: bool
) -> int:
  """MACs of one evaluation of the denoiser on one image.

  Args:
    generator: generator of the denoiser.
    params: its parameters, or their shapes.
    resolution: side of the image in pixels.
    conditioned: whether there is a low-resolution image.

  Returns:
    The number of MACs, see `flops.macs`.
  """

  def evaluate(
    params: Any, noisy: Array, sigma: Array, cond: Condition
  ) -> Array:
    return generator.bind(params)(noisy, sigma, cond)

  channels = generator.spec.channels
  args = evaluation_inputs(1, resolution, channels, conditioned)
  return flops.macs(evaluate, params, *args)


def evaluation_inputs(
  batch_size: int, resolution: int, channels: int, conditioned: bool
) -> tuple[Array, Array, Condition]:
  """Dummy arguments of a denoiser: images of zeros, noise levels of one."""
  shape = (batch_size, resolution, resolution, channels)
  low_res = (batch_size, resolution // 2, resolution // 2, channels)
  cond = Condition(
    label=jnp.zeros(batch_size, jnp.int32),
    low_res=jnp.zeros(low_res) if conditioned else None,
    low_res_sigma=jnp.ones(batch_size) if conditioned else None,
  )
  return jnp.zeros(shape), jnp.ones(batch_size), cond


def time_training(
  step: Any,
  state: Any,
  key: Array,
  batch: Batch,
  *,
  repeats: int,
) -> dict[str, Any]:
  """Times the training step.

  Args:
    step: jitted (state, key, batch) -> (state, metrics), donating the state.
    state: the train state, which is consumed.
    key: random key, as in training.
    batch: batch, as in training.
    repeats: timed steps, after two warm-up steps.

  Returns:
    Median images/s, compile seconds, peak bytes of memory of the compiled
    program, and those of its temporaries (activations, workspaces).
  """
  program, row = compile_program(step, (state, key, batch))
  seconds = []
  for repeat in range(repeats + 2):
    since = time.perf_counter()
    state, metrics = program(state, key, batch)
    jax.block_until_ready((state, metrics))
    if repeat > 1:
      seconds.append(time.perf_counter() - since)
  rate = len(batch.label) / statistics.median(seconds)
  return {"images_per_second": rate, **row}


def time_decoding(
  decode: Callable[[Array], Array], images: Array, *, repeats: int
) -> float:
  """Median images/s of decoding, after a warm-up run."""
  seconds = []
  for _ in range(repeats + 1):
    since = time.perf_counter()
    jax.block_until_ready(decode(images))
    seconds.append(time.perf_counter() - since)
  return len(images) / statistics.median(seconds[1:])


def table(rows: Sequence[dict[str, Any]]) -> str:
  """Formats rows as text; each metric in their "scores" is a column."""
  scores: dict[str, float] = next(
    (row["scores"] for row in rows if row["scores"]), {}
  )
  header = (
    f"{'':34}{'images/s':>10}{'cascade is':>12}{'NFE':>8}"
    f"{'GFLOP/image':>13}{'MFU %':>7}{'MiB':>7}{'compile s':>11}"
  )
  lines = [header + "".join(f"{name:>18}" for name in scores)]
  for row in rows:
    nfe = "+".join(str(n) for n in row["nfe"].values())
    cached = "*" if row["compile_from_cache"] else " "
    line = (
      f"{row['name']:34}{row['images_per_second']:10.1f}"
      f"{row['cascade_speed_ratio']:11.2f}x{nfe:>8}"
      f"{row['gflop_per_image']:13.4f}"
      f"{100 * row['model_flops_utilisation']:7.2f}"
      f"{row['peak_memory_bytes'] / 2**20:7.1f}"
      f"{row['compile_seconds']:10.1f}{cached}"
    )
    values = (row["scores"] or dict.fromkeys(scores, "-")).values()
    lines.append(
      line + "".join(f"{v:>18}" if v == "-" else f"{v:18.4f}" for v in values)
    )
  if any(row["compile_from_cache"] for row in rows):
    lines.append("* read from the compilation cache")
  return "\n".join(lines)
