"""What `main` can do: a module for each mode, with run(config, workdir)."""

from lowdiff_jax.cli import (
  benchmark,
  encode,
  evaluate,
  measure,
  sample,
  sweep,
  train,
  tune,
  upscale,
)

MODES = {
  "train": train.run,
  "sample": sample.run,
  "evaluate": evaluate.run,
  "benchmark": benchmark.run,
  "upscale": upscale.run,
  "measure": measure.run,
  "encode": encode.run,
  "sweep": sweep.run,
  "tune": tune.run,
}
