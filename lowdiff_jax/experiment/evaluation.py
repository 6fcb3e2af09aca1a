"""From a config to what scores pictures, and to what they are compared with."""

import functools
import hashlib
import json
from pathlib import Path

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from lowdiff_jax import distributed
from lowdiff_jax.data.datasets.tfds_set import data_folder
from lowdiff_jax.data.pipeline import in_order
from lowdiff_jax.data.splits import Data
from lowdiff_jax.distributed import is_main
from lowdiff_jax.experiment.errors import naming
from lowdiff_jax.experiment.parts import Experiment, build_experiment
from lowdiff_jax.experiment.sources import open_data, open_images
from lowdiff_jax.metrics import (
  compute,
  inception_score,
  kernel_distance,
  precision_recall,
  reference,
)
from lowdiff_jax.metrics.inception_weights import (
  PUBLISHED,
  Inception,
  load_inception,
)
from lowdiff_jax.types import Batch, Evaluator, UserError

# Values of config.evaluation.inception beside a path.
AUTO, NONE = "auto", "none"
# To which the features of the data set's own are fitted, at most.
FITTED = 10_000
# ImageSet whose bytes tell one set from another.
SAMPLED = 100


def make_evaluator(
  config: ConfigDict,
  data: Data | None = None,
  parts: Experiment | None = None,
) -> Evaluator:
  """FID and its kin; without Inception's weights a named substitute.

  Args:
    config: the config.
    data: its images, if they are open already.
    parts: its experiment, if it is built already.

  Returns:
    The evaluator. The statistics of real pictures are computed if they are not
    yet, which takes as long as scoring as many generated ones.

  Raises:
    UserError: weights, reference or pictures are missing or not what they
      should be.
  """
  path = _weights(config)
  if path is None:
    data = data or open_data(config)
    parts = parts or build_experiment(config, data.train.spec, data.latents)
    return _own_evaluator(config, data, parts)
  inception = load_inception(path, config.evaluation.side)
  mesh = distributed.make_mesh(**config.mesh)
  extract = compute.inception_extract(
    inception, config.evaluation.batch_size, mesh
  )
  figures = functools.partial(compute.inception_figures, inception)
  protocol = compute.inception_protocol(inception)
  section = config.evaluation
  if section.reference:
    file, shape = Path(section.reference).expanduser(), None
  else:
    file, shape = _real_pictures(config, data, inception, extract, figures)
  found = None
  # Other processes need not see process 0's files, and do not measure.
  if section.reference or is_main():
    with naming("config.evaluation.reference"):
      found = reference.read_reference(
        file, extract, inception, section.batch_size
      )
  return compute.make_evaluator(
    extract,
    functools.partial(figures, found),
    held_out=found.held_out if found else {},
    protocol={
      **protocol,
      "kid": kernel_distance.PROTOCOL,
      "precision_recall": precision_recall.PROTOCOL,
      "inception_score": inception_score.PROTOCOL,
      "reference": found and found.protocol,
    },
    shape=shape,
  )


def _weights(config):
  """The file of Inception's weights; None if there is none and need not be."""
  name = config.evaluation.inception
  if name == NONE:
    return None
  if name != AUTO:
    path = Path(name).expanduser()
    if not path.is_file():
      raise UserError(
        f"config.evaluation.inception: there is no {path}; get it from where "
        "the README says"
      )
    return path
  path = Path(PUBLISHED)
  if path.is_file():
    return path
  if is_main():
    logging.warning(
      "no %s here: scores are no FID but in features of the data set's own; "
      "the README says where to get it, and "
      "--config.evaluation.inception=none that this is meant",
      PUBLISHED,
    )
  return None


def _own_evaluator(config, data, parts):
  """Scores against training images; of latents against decoded ones."""
  # scikit-learn takes a second to import, and not all modes score.
  from lowdiff_jax.metrics.own_features import own_evaluator

  most = min(config.evaluation.references or FITTED, FITTED)

  def pictures(source):
    batch = source.read(np.arange(min(most, len(source))))
    *_, top = jax.tree.leaves(parts.codec.normalise(batch.image))
    return Batch(np.asarray(parts.codec.decode(top)), batch.label)

  return own_evaluator(
    pictures(data.train), pictures(data.test), data.train.spec.num_classes
  )


def _real_pictures(config, data, inception: Inception, extract, figures):
  """The file of statistics of the config's pictures, and their shape."""
  train, test = open_images(config, data)
  section = config.evaluation
  picks = _spread(train, section.references or len(train))
  held_out = _spread(test, section.references or reference.KEPT)
  settings = {
    "source": config.data.source,
    "resolution": train.spec.resolution,
    "crop": config.data.crop,
    "hold_out": config.data.hold_out,
    "pictures": len(picks),
    "held_out_pictures": len(held_out),
    "sample_sha256": _sample(train, picks),
    **compute.inception_protocol(inception),
  }
  key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
  name = config.data.source.rstrip("/").replace(":", "/").split("/")[-1]
  name = f"{name}_{train.spec.resolution}_{key[:12]}.npz"
  path = data_folder(config.data.dir) / "references" / name
  reference.make_reference(
    path,
    in_order(train, picks, section.batch_size),
    in_order(test, held_out, section.batch_size),
    extract,
    inception.pool,
    settings,
    figures,
  )
  side = train.spec.resolution
  return path, (side, side, train.spec.channels)


def _spread(pictures, most):
  """The indices of at most so many, over all of them."""
  count = min(most, len(pictures))
  return np.arange(count) * len(pictures) // count


def _sample(source, picks):
  """The sum of some of the pictures: the same name may come to hold others."""
  images = source.read(picks[_spread(picks, SAMPLED)]).image
  return hashlib.sha256(np.ascontiguousarray(images)).hexdigest()
