"""Reference statistics of real images.

A reference file is an .npz with `mu` and `sigma`, as published with EDM. ADM's
also have `mu_s` and `sigma_s` of the spatial features and the images `arr_0`.
Files made here have `features` of some images instead of images, and `meta`
(JSON): how they were made, and the metrics of held-out images.
"""

import json
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from lowdiff_jax import console, files, locks
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.data.stored import open_npz
from lowdiff_jax.distributed import agree, is_main
from lowdiff_jax.metrics.features import Collected, Extract, collect
from lowdiff_jax.metrics.frechet import Gaussian, statistics
from lowdiff_jax.metrics.inception import OUTPUTS
from lowdiff_jax.metrics.inception_weights import Inception
from lowdiff_jax.reading import read_npz, reading
from lowdiff_jax.types import ImageSet, UserError

# Images whose features are kept, for precision, recall and kernel distance.
KEPT = 10_000


class Reference(NamedTuple):
  """Statistics of real images.

  Attributes:
    pool: statistics of the pooled features.
    spatial: statistics of the spatial features; None if unknown.
    features: pooled features [M,D] of some of the images; None if unknown.
    held_out: the metrics of other real images; empty if unknown.
    protocol: the file, its SHA-256 and how it was made.
  """

  pool: Gaussian
  spatial: Gaussian | None
  features: np.ndarray | None
  held_out: dict[str, float]
  protocol: dict[str, Any]


def make_reference(
  path: AnyPath,
  images: ImageSet,
  held_out: ImageSet,
  extract: Extract,
  pool: str,
  settings: dict[str, Any],
  measure: Callable[[Reference, Collected], dict[str, float]],
) -> None:
  """Computes a reference file unless it exists.

  Of several programs that need it, the first makes it and the others wait.

  Args:
    path: the file. After an interruption, the next call resumes.
    images: the real images.
    held_out: other real images, whose metrics are stored in the file.
    extract: images -> features.
    pool: name of the pooled features.
    settings: all that the statistics depend on, as JSON.
    measure: (reference, features) -> metrics.
  """
  if agree(path.is_file()):
    return
  if is_main():
    files.make_folder(path.parent)
  with locks.owned(path.parent, path.stem, wait=True):
    if not agree(path.is_file()):
      _make(path, images, held_out, extract, pool, settings, measure)


def _make(
  path: AnyPath,
  images: ImageSet,
  held_out: ImageSet,
  extract: Extract,
  pool: str,
  settings: dict[str, Any],
  measure: Callable[[Reference, Collected], dict[str, float]],
) -> None:
  """Computes a reference file; see `make_reference`."""
  folder = path.with_suffix(".partial")
  console.say(f"statistics of {images.count} real images: {path}")
  ours = collect(images, extract, folder / "reference", settings)
  others = collect(held_out, extract, folder / "held_out", settings)
  if not is_main():
    return
  reference = Reference(
    statistics(chunk[pool] for chunk in ours.chunks()),
    _spatial(ours),
    ours.column(pool, KEPT),
    held_out={},
    protocol={},
  )
  meta = {
    **settings,
    "pictures": ours.count,
    "images_sha256": ours.sha256(),
    "held_out_pictures": others.count,
    "held_out": measure(reference, others),
  }
  arrays: dict[str, Any] = {
    "mu": reference.pool.mean,
    "sigma": reference.pool.covariance,
    **_arrays(reference.spatial),
    "features": reference.features,
    "meta": json.dumps(meta, indent=1),
  }
  with files.replacing(path) as partial, partial.open("wb") as file:
    np.savez(file, **arrays)
  files.remove_folder(folder)


def _spatial(collected: Collected) -> Gaussian | None:
  """Statistics of the spatial features; None without such features."""
  if "spatial" not in next(collected.chunks()):
    return None
  return statistics(chunk["spatial"] for chunk in collected.chunks())


def _arrays(spatial: Gaussian | None) -> dict[str, np.ndarray]:
  """The arrays of the spatial statistics, by their names in a file."""
  if spatial is None:
    return {}
  return {"mu_s": spatial.mean, "sigma_s": spatial.covariance}


def read_reference(
  path: AnyPath, extract: Extract, inception: Inception, batch_size: int
) -> Reference:
  """Reads a reference file.

  Args:
    path: the file.
    extract: images -> features, for a file with images.
    inception: the network of the features.
    batch_size: images per batch.

  Returns:
    The statistics; features are those in the file or of the images in it.

  Raises:
    UserError: the file is missing, damaged, or of another network.
  """
  size = OUTPUTS[inception.pool]
  with reading(path):
    sha256 = files.sha256(path)
    with zipfile.ZipFile(path) as archive:
      has_images = "arr_0.npy" in archive.namelist()
  arrays = read_npz(path, without=("arr_0",))
  meta = _meta(path, arrays)
  if meta.get("network_sha256", inception.sha256) != inception.sha256:
    raise UserError(
      f"{path} was made with other weights than those of the network in use"
    )
  pool = _gaussian(path, arrays, "mu", "sigma")
  if pool.mean.size != size:
    raise UserError(
      f"{path} is of {pool.mean.size} features, and the network gives {size}"
    )
  spatial, features = None, arrays.get("features")
  if "mu_s" in arrays:
    spatial = _gaussian(path, arrays, "mu_s", "sigma_s")
  if features is not None:
    count = max((2, *features.shape[:1]))
    _check_numbers(path, "features", features, (count, size))
  if has_images:
    images = open_npz(path, batch_size)
    features = collect(images, extract).column(inception.pool)
  held_out = meta.pop("held_out", {})
  protocol = {"file": str(path), "sha256": sha256, **meta}
  return Reference(pool, spatial, features, held_out, protocol)


def _meta(path: AnyPath, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """What a file says of itself."""
  with reading(path):
    meta = json.loads(str(arrays.get("meta", "{}")))
    held_out = meta.get("held_out", {})
    if not all(isinstance(value, int | float) for value in held_out.values()):
      raise ValueError("its held_out are no metrics")
  return meta


def _gaussian(
  path: AnyPath, arrays: Mapping[str, np.ndarray], mean: str, covariance: str
) -> Gaussian:
  """The statistics of these names."""
  if not {mean, covariance} <= arrays.keys():
    raise UserError(f"{path} has no {mean} and {covariance}")
  found = Gaussian(arrays[mean], arrays[covariance])
  size = found.mean.size
  _check_numbers(path, mean, found.mean, (size,))
  _check_numbers(path, covariance, found.covariance, (size, size))
  return found


def _check_numbers(
  path: AnyPath, name: str, array: np.ndarray, shape: tuple[int, ...]
) -> None:
  if array.shape != shape or array.dtype.kind not in "fiu":
    raise UserError(
      f"{path}: {name} is {array.dtype} {array.shape}, expected numbers {shape}"
    )
  if not np.isfinite(array).all():
    raise UserError(f"{path}: {name} is not finite everywhere")
