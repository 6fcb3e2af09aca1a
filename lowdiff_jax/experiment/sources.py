"""From a config to its data: images, or latents of images."""

import dataclasses
from typing import Any

from ml_collections import ConfigDict

from lowdiff_jax.data.splits import Data
from lowdiff_jax.experiment import image_sets, latent_sets
from lowdiff_jax.experiment.schema import resolutions
from lowdiff_jax.types import ImageSource, UserError


def open_data(config: ConfigDict) -> Data:
  """What a run trains on and validates on; prepared if it is not yet."""
  if config.data.space == "latents":
    train, test, info = latent_sets.open_latents(config)
  else:
    train, test = image_sets.open_splits(config, resolutions(config)[-1])
    info = None
  if not config.data.labels:
    train, test = _without_labels(train), _without_labels(test)
  return Data(train, test, info)


def _without_labels(split: Any) -> ImageSource:
  """The same images, whose labels are not looked at."""
  return dataclasses.replace(split, spec=split.spec._replace(num_classes=0))


def open_images(
  config: ConfigDict, data: Data | None = None
) -> tuple[ImageSource, ImageSource]:
  """The real images that generated ones are compared with.

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
    return latent_sets.open_images(config)
  except UserError as error:
    raise UserError(
      f"no images to compare with: {error}; or set "
      "--config.evaluation.reference to statistics of them"
    ) from error
