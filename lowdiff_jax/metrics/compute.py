"""Computes metrics from features, and builds evaluators."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from lowdiff_jax import console
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.distributed import in_batches, is_main
from lowdiff_jax.metrics import inception as network
from lowdiff_jax.metrics.features import Collected, Extract, collect
from lowdiff_jax.metrics.frechet import Gaussian, frechet_distance, statistics
from lowdiff_jax.metrics.inception_score import SPLITS, inception_score
from lowdiff_jax.metrics.inception_weights import Inception
from lowdiff_jax.metrics.kernel_distance import kernel_distance
from lowdiff_jax.metrics.precision_recall import NEIGHBOURS, precision_recall
from lowdiff_jax.metrics.reference import Reference
from lowdiff_jax.types import Array, Evaluator, ImageSet, Score

# Features -> metrics by name.
Measure = Callable[[Collected], dict[str, float]]


def make_evaluator(
  extract: Extract,
  measure: Measure,
  *,
  held_out: dict[str, float],
  protocol: dict[str, Any],
  shape: tuple[int, int, int] | None = None,
) -> Evaluator:
  """Makes an evaluator of feature extraction and metrics.

  Args:
    extract: images -> features.
    measure: features -> metrics.
    held_out: the metrics of real images that were not trained on.
    protocol: all that `extract` and `measure` depend on.
    shape: required shape of an image [H,W,C]; None for any.

  Returns:
    The evaluator.
  """

  def score(
    images: ImageSet, folder: AnyPath | None = None, settings: Any = None
  ) -> Score:
    collected = collect(images, extract, folder, settings)
    if not is_main():
      return Score({}, {})
    measured = {
      "images_sha256": collected.sha256(),
      "images_per_second_with_features": round(
        collected.images_per_second(), 2
      ),
    }
    with console.taking(f"computing the metrics of {images.count} images"):
      return Score(measure(collected), measured)

  return Evaluator(score, held_out, protocol, shape)


def inception_extract(
  inception: Inception, batch_size: int, mesh: Mesh
) -> Extract:
  """Feature extraction by Inception.

  Args:
    inception: the network with its weights.
    batch_size: images per batch.
    mesh: a batch is split over all its devices.

  Returns:
    A function from images of one or three channels to the network's outputs,
    which it does not wait for.
  """

  def outputs(module: Any, params: Any, images: Array) -> dict[str, Array]:
    return module.apply({"params": params}, images)

  params = jax.tree.map(jnp.asarray, inception.params)
  run: Callable[[Any], dict[str, Array]] = in_batches(
    "the feature network",
    outputs,
    lambda: (inception.module, params),
    batch_size,
    mesh,
  )

  def extract(images: np.ndarray) -> dict[str, Array]:
    if images.shape[-1] == 1:
      images = np.broadcast_to(images, (*images.shape[:-1], 3))
    return run(np.ascontiguousarray(images))

  return extract


def inception_protocol(inception: Inception) -> dict[str, Any]:
  """All that the features depend on besides the images."""
  source, module = Path(network.__file__).read_bytes(), inception.module
  return {
    "network": "Inception v3 of 2015-12-05, TensorFlow 1's bilinear resizing",
    "network_sha256": inception.sha256,
    "features": inception.pool,
    **({} if module.side == network.SIDE else {"side": module.side}),
    "network_code_sha256": hashlib.sha256(source).hexdigest(),
  }


def inception_figures(
  inception: Inception, reference: Reference, collected: Collected
) -> dict[str, float]:
  """Computes the metrics that features, reference and their numbers allow.

  Args:
    inception: the network. With other features or another input size than FID
      is defined for, the metrics' names have a suffix (`Inception.suffix`).
    reference: statistics of real images.
    collected: outputs of the network.

  Returns:
    Those that can be computed of fid, sfid (the Frechet distance of the spatial
    features), kid, precision, recall, inception_score and inception_score_std
    (over the splits).
  """

  def distance(name: str, real: Gaussian) -> float:
    ours = statistics(chunk[name] for chunk in collected.chunks())
    return frechet_distance(real, ours)

  pool, suffix = inception.pool, inception.suffix()
  name = f"frechet_distance{suffix}" if suffix else "fid"
  values = {name: distance(pool, reference.pool)}
  outputs = inception.module.outputs
  if reference.spatial is not None and "spatial" in outputs:
    values["sfid"] = distance("spatial", reference.spatial)
  if reference.features is not None:
    ours = collected.column(pool)
    fewest = min(len(ours), len(reference.features))
    if fewest > 1:
      values[f"kid{suffix}"] = kernel_distance(ours, reference.features)
    if fewest > NEIGHBOURS:
      shares = precision_recall(ours, reference.features)
      values[f"precision{suffix}"] = shares.precision
      values[f"recall{suffix}"] = shares.recall
  if "logits_unbiased" in outputs and collected.count >= SPLITS:
    names = f"inception_score{suffix}", f"inception_score_std{suffix}"
    score = inception_score(collected.column("logits_unbiased"))
    values.update(zip(names, score, strict=True))
  return values
