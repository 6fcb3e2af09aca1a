"""Mode tune: a better schedule for a trained model, as overrides to paste."""

from ml_collections import ConfigDict

from lowdiff_jax import files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.distributed import is_main
from lowdiff_jax.experiment.named_models import load_for
from lowdiff_jax.experiment.overrides import as_flags
from lowdiff_jax.experiment.tuning import tune


def run(config: ConfigDict, workdir: AnyPath) -> None:
  """Searches; prints what it found and writes workdir/tune.json."""
  tuned = tune(load_for(config, workdir))
  if not is_main():
    return
  path = workdir / "tune.json"
  files.write_json(path, tuned.record)
  print(tuned)
  print("\nTo sample with the best:\n")
  print(" \\\n".join(f"  {flag}" for flag in as_flags(tuned.fields)))
  print(f"\nin full: {path}")
