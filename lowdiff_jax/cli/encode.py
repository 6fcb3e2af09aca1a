"""Mode encode: images to the latents that a config trains on."""

from ml_collections import ConfigDict

from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.distributed import is_main
from lowdiff_jax.experiment import latent_sets
from lowdiff_jax.types import UserError


def run(config: ConfigDict, workdir: AnyPath) -> None:
  """Writes the data set of latents, or what is missing or damaged of it."""
  del workdir  # Runs share it.
  if config.data.space != "latents":
    raise UserError(
      "config.data.space = 'pixels': this config trains on pixels, there is "
      "nothing to encode"
    )
  folder = latent_sets.encode(config)
  if is_main():
    print(f"the latents are in {folder}")
