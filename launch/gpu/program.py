"""Measures one program of a page: its training step or its sampling.

  python -m launch.gpu.program PAGE train --batch-size=256 [--config.FIELD=...]

Weights and images are random: they decide nothing about speed. Sampling is
measured without the decoding of latents. Prints images/s (the median of
--repeats runs), MFU, memory, and whether cuDNN's fused attention is in the
compiled program; --json=FILE also writes them.
"""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from launch.compare.card import card, peak_bytes
from launch.study.page import open_config
from lowdiff_jax import distributed, files
from lowdiff_jax.cli.main import keep_compiled_programs
from lowdiff_jax.data.latents.info import LatentInfo
from lowdiff_jax.experiment import defaults
from lowdiff_jax.experiment.cost import training_macs
from lowdiff_jax.experiment.parts import Experiment, build_experiment
from lowdiff_jax.experiment.schema import resolutions
from lowdiff_jax.profiling import flops, throughput
from lowdiff_jax.types import Batch, ImageSpec


def main() -> int:
  """Prints and writes the measurement; the exit status."""
  args, fields = _arguments()
  keep_compiled_programs()
  experiment = _experiment(args, fields)
  dtype = experiment.config.model.dtype
  peak = flops.peak(dtype)
  measure = {"train": _train, "sample": _sample}[args.program]
  row = measure(experiment, args, peak.flops)
  record = {
    **card(),
    "page": args.page,
    "program": args.program,
    "dtype": dtype,
    "batch_size": args.batch_size,
    "repeats": args.repeats,
    "peak_flops": peak.flops,
    "peak_is": peak.name,
    **row,
    "device_peak_bytes": peak_bytes(),
  }
  for name, value in record.items():
    print(f"{name}: {value}")
  if args.json:
    files.write_json(args.json, record)
  return 0


def _arguments() -> tuple[argparse.Namespace, list[str]]:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("page", help="FILE.py or FILE.py:ARGUMENTS")
  parser.add_argument("program", choices=["train", "sample"])
  parser.add_argument("--batch-size", type=int, required=True)
  parser.add_argument("--repeats", type=int, default=5)
  parser.add_argument("--json", type=Path)
  return parser.parse_known_args()


def _experiment(args: argparse.Namespace, fields: list[str]) -> Experiment:
  """The page's, with this batch in every stage, and no data."""
  config = open_config([f"--config={args.page}", *fields])
  defaults.set_stages(config, batch_size=args.batch_size)
  side = resolutions(config)[-1]
  if config.data.space == "pixels":
    return build_experiment(
      config, ImageSpec(side, 3, 10 if config.data.labels else 0)
    )
  channels = config.autoencoder.latent_channels
  return build_experiment(
    config,
    ImageSpec(side, channels, 1000),
    LatentInfo(np.zeros(channels), np.ones(channels), (side,), {}, ""),
  )


def _train(
  experiment: Experiment, args: argparse.Namespace, peak: float
) -> dict[str, Any]:
  spec, config = experiment.spec, experiment.config
  rng = np.random.default_rng(0)
  shape = (args.batch_size, spec.resolution, spec.resolution, spec.channels)
  images: np.ndarray = rng.integers(0, 256, shape, np.uint8)
  if experiment.latents is not None:
    images = rng.standard_normal(shape, np.float32).astype(np.float16)
  labels = np.arange(args.batch_size) % max(1, spec.num_classes)
  batch = Batch(images, labels.astype(np.int32))
  row = throughput.time_training(
    experiment.step,
    experiment.init(),
    jax.random.key(config.seed),
    jax.device_put(batch, distributed.batch_sharding(experiment.mesh)),
    repeats=args.repeats,
  )
  gflop = 2 * training_macs(experiment) / args.batch_size / 1e9
  used = row["images_per_second"] * gflop * 1e9 / peak
  return {**row, "gflop_per_image": gflop, "model_flops_utilisation": used}


def _sample(
  experiment: Experiment, args: argparse.Namespace, peak: float
) -> dict[str, Any]:
  undecoded = dataclasses.replace(
    experiment.generator, decode=lambda images: images
  )
  params = experiment.init().params
  candidate = throughput.Candidate("", experiment.stages, undecoded, params)
  (row,) = throughput.benchmark(
    [candidate],
    batch_size=args.batch_size,
    repeats=args.repeats,
    peak=peak,
  )
  return row


if __name__ == "__main__":
  sys.exit(main())
