"""From a config to the evaluator and its reference statistics."""

import functools
import hashlib
import json
from collections.abc import Callable, Sized
from pathlib import Path

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from lowdiff_jax import console, distributed, files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.data.datasets.tfds_set import data_folder
from lowdiff_jax.data.pipeline import in_order
from lowdiff_jax.data.splits import Data
from lowdiff_jax.distributed import is_main
from lowdiff_jax.experiment.errors import naming
from lowdiff_jax.experiment.parts import Experiment, build_experiment
from lowdiff_jax.experiment.paths import data_dir, file_of
from lowdiff_jax.experiment.sources import open_data, open_images
from lowdiff_jax.metrics import (
  compute,
  inception_score,
  kernel_distance,
  precision_recall,
  reference,
)
from lowdiff_jax.metrics.features import Extract
from lowdiff_jax.metrics.inception_weights import (
  PUBLISHED,
  Inception,
  load_inception,
)
from lowdiff_jax.types import Batch, Evaluator, ImageSource, UserError

# Values of config.evaluation.inception besides a path.
AUTO, NONE = "auto", "none"
# Images that the data set's own features are fitted to, at most.
FITTED = 10_000
# Images whose bytes identify a set.
SAMPLED = 100


def make_evaluator(
  config: ConfigDict,
  data: Data | None = None,
  parts: Experiment | None = None,
) -> Evaluator:
  """The evaluator of a config: FID, or without Inception a substitute.

  Args:
    config: the config.
    data: its images, if they are open already.
    parts: its experiment, if it is built already.

  Returns:
    The evaluator. Statistics of the real images are computed first if they are
    not stored yet, which takes as long as evaluating as many generated images.

  Raises:
    UserError: weights, reference or images are missing or wrong.
  """
  path = _weights(config)
  if path is None:
    data = data or open_data(config)
    parts = parts or build_experiment(config, data.train.spec, data.latents)
    return _own_evaluator(config, data, parts)
  with console.taking(f"loading {path}"):
    inception = load_inception(path, config.evaluation.side)
  mesh = distributed.make_mesh()
  extract = compute.inception_extract(
    inception, config.evaluation.batch_size, mesh
  )
  metrics = functools.partial(compute.inception_figures, inception)
  protocol = compute.inception_protocol(inception)
  section = config.evaluation
  if section.reference:
    file, shape = file_of(config, "evaluation.reference"), None
  else:
    file, shape = _real_images(config, data, inception, extract, metrics)
  found = None
  # Other processes need not see process 0's files, and do not measure.
  if section.reference or is_main():
    with naming("config.evaluation.reference"):
      found = reference.read_reference(
        files.local(file), extract, inception, section.batch_size
      )
  return compute.make_evaluator(
    extract,
    functools.partial(metrics, found),
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


def _weights(config: ConfigDict) -> AnyPath | None:
  """The file of Inception's weights; None if there is none and need not be."""
  name = config.evaluation.inception
  if name == NONE:
    return None
  if name != AUTO:
    path = file_of(config, "evaluation.inception")
    if not path.is_file():
      raise UserError(
        f"config.evaluation.inception: there is no {path}; get it as "
        "docs/evaluate.md says"
      )
    return path
  path = Path(PUBLISHED)
  if path.is_file():
    return path
  if is_main():
    logging.warning(
      "no %s here: scores are no FID but in features of the data set's own; "
      "docs/evaluate.md says where to get it, and "
      "--config.evaluation.inception=none that this is meant",
      PUBLISHED,
    )
  return None


def _own_evaluator(
  config: ConfigDict, data: Data, parts: Experiment
) -> Evaluator:
  """Compares with training images; latents are decoded first."""
  # scikit-learn takes a second to import, and not all modes score.
  from lowdiff_jax.metrics.own_features import own_evaluator

  most = min(config.evaluation.references or FITTED, FITTED)

  def images(source: ImageSource) -> Batch:
    batch = source.read(np.arange(min(most, len(source))))
    *_, top = jax.tree.leaves(parts.codec.normalise(batch.image))
    return Batch(np.asarray(parts.codec.decode(top)), batch.label)

  with console.taking("fitting the features that images are compared in"):
    return own_evaluator(
      images(data.train), images(data.test), data.train.spec.num_classes
    )


def _real_images(
  config: ConfigDict,
  data: Data | None,
  inception: Inception,
  extract: Extract,
  measure: Callable[..., dict[str, float]],
) -> tuple[AnyPath, tuple[int, int, int]]:
  """The file of statistics of the config's images, and their shape."""
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
  path = data_folder(data_dir(config)) / "references" / name
  reference.make_reference(
    path,
    in_order(train.read, picks, section.batch_size),
    in_order(test.read, held_out, section.batch_size),
    extract,
    inception.pool,
    settings,
    measure,
  )
  side = train.spec.resolution
  return path, (side, side, train.spec.channels)


def _spread(images: Sized, most: int) -> np.ndarray:
  """The indices of at most so many, over all of them."""
  count = min(most, len(images))
  return np.arange(count) * len(images) // count


def _sample(source: ImageSource, picks: np.ndarray) -> str:
  """SHA-256 of some of the images: a name may come to hold others."""
  images = source.read(picks[_spread(picks, SAMPLED)]).image
  return hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()
