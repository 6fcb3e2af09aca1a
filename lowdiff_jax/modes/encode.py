"""Mode encode: pictures to the latents that a config trains on."""

from pathlib import Path

import jax
from ml_collections import ConfigDict

from lowdiff_jax.build import latents
from lowdiff_jax.interfaces import UserError


def run(config: ConfigDict, workdir: Path) -> None:
  """Writes the data set of latents, or what is missing or damaged of it."""
  del workdir  # Runs share it.
  if config.data.space != "latents":
    raise UserError(
      "config.data.space = 'pixels': this config trains on the pictures "
      "themselves, there is nothing to encode"
    )
  folder = latents.encode(config)
  if jax.process_index() == 0:
    print(f"the latents are in {folder}")
