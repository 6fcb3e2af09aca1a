"""From a config to its images."""

from ml_collections import ConfigDict

from lowdiff_jax import console
from lowdiff_jax.data import source
from lowdiff_jax.data.decode import Decoder
from lowdiff_jax.experiment.errors import naming
from lowdiff_jax.experiment.paths import data_dir
from lowdiff_jax.types import ImageSource


def image_decoder(config: ConfigDict) -> Decoder:
  """The decoder of image files."""
  return Decoder(config.data.background, config.data.max_pixels)


def open_splits(
  config: ConfigDict, resolution: int
) -> tuple[ImageSource, ImageSource]:
  """The images of config.data, at a resolution: (train, held out)."""
  with (
    naming("config.data.source"),
    console.taking(f"opening {config.data.source}"),
  ):
    return source.open_splits(
      config.data.source,
      resolution=resolution,
      crop=config.data.crop,
      data_dir=data_dir(config),
      hold_out=config.data.hold_out,
      decoder=image_decoder(config),
    )
