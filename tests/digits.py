"""The page of the digits, but with a network of one level.

Tracing the network is most of what a training of a few steps costs.
"""

from pathlib import Path

from lowdiff_jax.experiment.defaults import ConfigDict
from lowdiff_jax.experiment.overrides import override, read_page

PAGE = Path(__file__).parent.parent / "configs" / "digits.py"
# Twice as wide: arrays of the narrow level are too small to be shared out.
NETWORK = {"model.channel_mult": (2,), "model.entry": "top_level"}


def get_config(arguments: str = "") -> ConfigDict:
  """Its config; arguments as there."""
  return override(read_page(f"{PAGE}:{arguments}"), NETWORK)
