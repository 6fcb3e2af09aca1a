"""The spec of a config's images, if possible without the images."""

import numpy as np
from ml_collections import ConfigDict

from lowdiff_jax.data.datasets.tfds_set import read_spec
from lowdiff_jax.data.latents.info import LatentInfo
from lowdiff_jax.experiment import image_sets, latent_sets
from lowdiff_jax.experiment.codecs import make_autoencoder
from lowdiff_jax.experiment.errors import naming
from lowdiff_jax.experiment.paths import data_dir
from lowdiff_jax.experiment.schema import resolutions
from lowdiff_jax.types import ImageSpec, UserError


def planned_spec(config: ConfigDict) -> tuple[ImageSpec, LatentInfo | None]:
  """What `build_experiment` must know of the data, to build and not to run.

  The features of a TFDS set are known before it is prepared; other sources are
  looked at, unless config.plan.num_classes says how many classes they have.

  Args:
    config: the config.

  Returns:
    The spec, and of latents an info whose statistics are not measured.

  Raises:
    UserError: the source is neither known nor here.
  """
  spec, info = _images(config), None
  if config.data.space == "latents":
    channels = make_autoencoder(config).latent_channels
    spec = spec._replace(channels=channels)
    sides = resolutions(config)
    if config.latents.pyramid == "pool":
      sides = sides[-1:]
    zeros, ones = np.zeros(channels, np.float32), np.ones(channels, np.float32)
    info = LatentInfo(zeros, ones, sides, {"autoencoder": ""}, "")
  return spec if config.data.labels else spec._replace(num_classes=0), info


def _images(config: ConfigDict) -> ImageSpec:
  """Of the images; the resolution is that of the last stage."""
  resolution, given = resolutions(config)[-1], config.plan.num_classes
  kind, _, name = config.data.source.partition(":")
  if kind == "tfds":
    with naming("config.data.source"):
      spec = read_spec(name, resolution, data_dir(config))
    return spec if given < 0 else spec._replace(num_classes=given)
  if given >= 0:
    return ImageSpec(resolution, 3, given)
  try:
    if config.data.space == "latents":
      encoded = latent_sets.open_images(config)[0].spec
      return encoded._replace(resolution=resolution)
    return image_sets.open_splits(config, resolution)[0].spec
  except UserError as error:
    raise UserError(
      f"{error}; or set --config.plan.num_classes to plan without the data"
    ) from error
