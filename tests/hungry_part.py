"""A part of launch.gpu that runs out of memory with more than two images."""

import argparse
from pathlib import Path

import jax

from lowdiff_jax import files

parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int)
parser.add_argument("--json", type=Path)
parser.add_argument("--fits", type=int, default=2)
args = parser.parse_args()
if args.batch_size > args.fits:
  raise jax.errors.JaxRuntimeError(
    "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes."
  )
files.write_json(args.json, {"batch_size": args.batch_size})
