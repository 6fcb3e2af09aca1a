"""What makes sampling fast: each choice timed against its alternative.

  python -m launch.compare.sampler_speed [--config=PAGE]

Weights are random: they decide nothing about speed. Prints images/s (medians of
runs in turn) of the cascade as one program and as a program for each stage, in
16 bits, guided everywhere and in an interval; of each stage by its batch size;
memory; and how long a start takes with an empty compilation cache and with a
full one.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from launch.study.page import open_config
from lowdiff_jax.cli.main import keep_compiled_programs
from lowdiff_jax.diffusion.cascade import Stage
from lowdiff_jax.diffusion.guidance import Guidance
from lowdiff_jax.experiment.parts import Experiment, build_experiment
from lowdiff_jax.experiment.schema import resolutions
from lowdiff_jax.profiling import flops, throughput
from lowdiff_jax.schedules.stagewise import Stagewise
from lowdiff_jax.types import ImageSpec

BATCH_SIZES = (25, 50, 100, 200, 400)
# Noise levels that a guidance within an interval is for.
INTERVAL = (0.2, 2.0)


def main() -> None:
  """Prints the measurements."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--config", default="configs/study_cifar10.py:three")
  parser.add_argument("--classes", type=int, default=10)
  parser.add_argument("--repeats", type=int, default=5)
  parser.add_argument("--batch-size", type=int, default=100)
  args = parser.parse_args()
  print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}")
  _time_cascades(args)
  _time_stages(args)
  _time_starts(args)


def _experiment(args: argparse.Namespace, *flags: str) -> Experiment:
  config = open_config([f"--config={args.config}", *flags])
  spec = ImageSpec(resolutions(config)[-1], 3, args.classes)
  return build_experiment(config, spec)


def _candidate(
  name: str, experiment: Experiment, stages: Sequence[Stage], params: Any
) -> throughput.Candidate:
  return throughput.Candidate(name, stages, experiment.generator, params)


def _time_cascades(args: argparse.Namespace) -> None:
  """The cascade and its variations, in turn."""
  whole = _experiment(args)
  half = _experiment(args, "--config.model.dtype=bfloat16")
  params = whole.init().params

  def guided(interval: tuple[float, float]) -> tuple[Stage, ...]:
    guidance = Guidance(2.0, interval)
    return tuple(stage._replace(guidance=guidance) for stage in whole.stages)

  rows = throughput.benchmark(
    [
      _candidate("cascade, one program", whole, whole.stages, params),
      _candidate("bfloat16", half, half.stages, params),
      _candidate("guided", whole, guided((0.0, np.inf)), params),
      _candidate(f"guided in {INTERVAL}", whole, guided(INTERVAL), params),
    ],
    batch_size=args.batch_size,
    repeats=args.repeats,
    peak=flops.peak("float32").flops,
  )
  print(throughput.table([{**row, "scores": None} for row in rows]))
  _time_stage_by_stage(args, whole, params)
  parts = {
    f"{stage.resolution}x{stage.resolution} alone": ([stage], k > 0)
    for k, stage in enumerate(whole.stages)
  }
  for name, (stages, conditioned) in {
    **parts,
    "the cascade": (whole.stages, False),
  }.items():
    size = _temporary(args, whole, stages, params, conditioned)
    print(f"temporary memory of {name}: {size / 2**20:.1f} MiB")


def _time_stage_by_stage(
  args: argparse.Namespace, experiment: Experiment, params: Any
) -> None:
  """A program for each stage, whose images pass through the host."""
  maker = Stagewise(
    experiment.generator, params, seed=0, batch_size=args.batch_size
  )
  seconds = []
  for repeat in range(args.repeats + 1):
    first = repeat * args.batch_size  # Other images, or none would be made.
    since = time.perf_counter()
    list(maker.images(experiment.stages, args.batch_size, first).read(0))
    seconds.append(time.perf_counter() - since)
  rate = args.batch_size / statistics.median(seconds[1:])
  print(f"a program for each stage: {rate:.2f} images/s")


def _temporary(
  args: argparse.Namespace,
  experiment: Experiment,
  stages: Sequence[Stage],
  params: Any,
  conditioned: bool = False,
) -> int:
  """Bytes that the program needs beside its arguments and results."""
  side = stages[0].resolution // 2
  low_res = np.zeros((args.batch_size, side, side, 3), np.float32)
  program = experiment.generator.program(stages).lower(
    params,
    0,
    np.arange(args.batch_size),
    np.zeros(args.batch_size, np.int32),
    low_res if conditioned else None,
  )
  return program.compile().memory_analysis().temp_size_in_bytes


def _time_stages(args: argparse.Namespace) -> None:
  """Evaluations of the network by batch size, at each resolution."""
  experiment = _experiment(args)
  params = experiment.init().params
  run = jax.jit(lambda params, *inputs: experiment.bind(params)(*inputs))
  print("evaluations/s" + "".join(f"{n:>9}" for n in BATCH_SIZES))
  for k, stage in enumerate(experiment.stages):
    rates = []
    for size in BATCH_SIZES:
      inputs = throughput.evaluation_inputs(size, stage.resolution, 3, k > 0)
      seconds = []
      for _ in range(args.repeats + 1):
        since = time.perf_counter()
        jax.block_until_ready(run(params, *inputs))
        seconds.append(time.perf_counter() - since)
      rates.append(size / statistics.median(seconds[1:]))
    side = f"{stage.resolution}x{stage.resolution}"
    print(f"{side:13}" + "".join(f"{rate:9.0f}" for rate in rates))


def _time_starts(args: argparse.Namespace) -> None:
  """From the command to the end of a first batch: compiled anew, and not."""
  code = (
    "from launch.compare import sampler_speed; sampler_speed.first_batch("
    f"{args.config!r}, {args.classes}, {args.batch_size})"
  )
  with tempfile.TemporaryDirectory() as cache:
    env = {**os.environ, "JAX_COMPILATION_CACHE_DIR": cache}
    for name in ("an empty", "a full"):
      since = time.perf_counter()
      done = subprocess.run(
        [sys.executable, "-c", code],
        env=env,
        capture_output=True,
        text=True,
        check=True,
      )
      seconds = time.perf_counter() - since
      ready = seconds - float(done.stdout)
      print(
        f"start with {name} compilation cache: {ready:.1f} s, and the first "
        f"batch {float(done.stdout):.1f} s"
      )


def first_batch(config: str, classes: int, batch_size: int) -> None:
  """Makes a batch; prints how long it took once the program was there."""
  keep_compiled_programs()
  args = argparse.Namespace(config=config, classes=classes)
  experiment = _experiment(args)
  params = experiment.init().params
  indices = np.arange(batch_size)
  labels = np.zeros(batch_size, np.int32)
  jitted = experiment.generator.program(experiment.stages)
  program = jitted.lower(params, 0, indices, labels, None).compile()
  since = time.perf_counter()
  jax.block_until_ready(program(params, 0, indices, labels, None))
  print(time.perf_counter() - since)


if __name__ == "__main__":
  main()
