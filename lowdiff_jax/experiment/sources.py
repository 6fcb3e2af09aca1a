"""From a config to the images: pictures, or latents of pictures."""

import dataclasses
from typing import NamedTuple

from ml_collections import ConfigDict

from lowdiff_jax.data import source
from lowdiff_jax.data.latents.reader import LatentInfo
from lowdiff_jax.experiment import latent_space
from lowdiff_jax.types import ImageSource, UserError


class Data(NamedTuple):
  """The training and the held-out images, and how they were encoded if so."""

  train: ImageSource
  test: ImageSource
  latents: LatentInfo | None = None


def open_data(config: ConfigDict) -> Data:
  """What a run trains on and validates on; prepared if it is not yet."""
  if config.data.space == "latents":
    train, test, info = latent_space.open_latents(config)
  else:
    train, test = source.open_splits(
      config.data.source,
      resolution=config.stages.resolutions[-1],
      crop=config.data.crop,
      data_dir=config.data.dir,
      hold_out=config.data.hold_out,
    )
    info = None
  if not config.data.labels:
    train, test = (
      dataclasses.replace(split, spec=split.spec._replace(num_classes=0))
      for split in (train, test)
    )
  return Data(train, test, info)


def open_pictures(
  config: ConfigDict, data: Data | None = None
) -> tuple[ImageSource, ImageSource]:
  """The real pictures that generated ones are compared with.

  Args:
    config: the config.
    data: its images, if they are open already.

  Returns:
    Those of training, and those held out; as they were before any encoding.

  Raises:
    UserError: there are none.
  """
  if config.data.space == "pixels":
    return (data or open_data(config))[:2]
  try:
    return latent_space.open_pictures(config)
  except UserError as error:
    raise UserError(
      f"no pictures to compare with: {error}; or set "
      "--config.evaluation.reference to statistics of them"
    ) from error
