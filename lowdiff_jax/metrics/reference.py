"""What generated pictures are compared with: statistics of real ones.

A file of them is an .npz with `mu` and `sigma`, as EDM publishes them; ADM's
have `mu_s` and `sigma_s` of the spatial features too, and pictures `arr_0`.
Ours have `features` of some pictures instead, and say in `meta` (JSON) how they
were made and what pictures score that were held out.
"""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lowdiff_jax import files
from lowdiff_jax.data.stored import open_npz
from lowdiff_jax.distributed import agree, is_main
from lowdiff_jax.metrics.features import Collected, Extract, collect
from lowdiff_jax.metrics.frechet import Gaussian, statistics
from lowdiff_jax.metrics.inception import OUTPUTS
from lowdiff_jax.metrics.inception_weights import Inception
from lowdiff_jax.types import ImageSet, UserError

# Whose features are kept for precision, recall and the kernel distance.
KEPT = 10_000


class Reference(NamedTuple):
  """Statistics of real pictures.

  Attributes:
    pool: of the pooled features.
    spatial: of the spatial features, if known.
    features: [M,D], pooled, of some of the pictures, if known.
    held_out: the figures of real pictures beside them, if known.
    protocol: what they are of.
  """

  pool: Gaussian
  spatial: Gaussian | None
  features: np.ndarray | None
  held_out: dict[str, float]
  protocol: dict[str, Any]


def make_reference(
  path: Path,
  pictures: ImageSet,
  held_out: ImageSet,
  extract: Extract,
  pool: str,
  settings: dict[str, Any],
  figures: Callable[[Reference, Collected], dict[str, float]],
) -> None:
  """Computes a file of statistics, unless it is there.

  Args:
    path: of the file; interrupted, the next call goes on.
    pictures: the real ones.
    held_out: others, whose figures are kept with the statistics.
    extract: pictures -> features.
    pool: which of them are pooled.
    settings: all that the statistics depend on, as JSON.
    figures: (reference, features) -> figures.
  """
  if agree(path.is_file()):
    return
  folder = path.with_suffix(".partial")
  if is_main():
    print(f"statistics of {pictures.count} real pictures: {path}", flush=True)
  ours = collect(pictures, extract, folder / "reference", settings)
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
    "held_out": figures(reference, others),
  }
  with files.replacing(path) as partial, partial.open("wb") as file:
    arrays: dict[str, Any] = {
      "mu": reference.pool.mean,
      "sigma": reference.pool.covariance,
      **_arrays(reference.spatial),
      "features": reference.features,
      "meta": json.dumps(meta, indent=1),
    }
    np.savez(file, **arrays)
  shutil.rmtree(folder)


def _spatial(collected: Collected) -> Gaussian | None:
  """Statistics of the spatial features, if there are any."""
  if "spatial" not in next(collected.chunks()):
    return None
  return statistics(chunk["spatial"] for chunk in collected.chunks())


def _arrays(spatial: Gaussian | None) -> dict[str, np.ndarray]:
  if spatial is None:
    return {}
  return {"mu_s": spatial.mean, "sigma_s": spatial.covariance}


def read_reference(
  path: Path, extract: Extract, inception: Inception, batch_size: int
) -> Reference:
  """The statistics in a file.

  Args:
    path: of the file.
    extract: pictures -> features, for a file that has pictures.
    inception: the network whose features they are.
    batch_size: pictures at a time.

  Returns:
    All that the file suffices for.

  Raises:
    UserError: it is missing, damaged, or of another network.
  """
  size = OUTPUTS[inception.pool]
  try:
    with path.open("rb") as file:
      sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    with np.load(path, allow_pickle=False) as file:
      arrays = {n: file[n] for n in file.files if n != "arr_0"}
      has_pictures = "arr_0" in file.files
  except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
    raise UserError(f"{path} cannot be read ({error})") from error
  if not {"mu", "sigma"} <= arrays.keys():
    raise UserError(f"{path} has no mu and sigma")
  if arrays["mu"].shape != (size,) or arrays["sigma"].shape != (size, size):
    raise UserError(
      f"{path} is of {arrays['mu'].size} features, and the network gives {size}"
    )
  meta = json.loads(str(arrays.get("meta", "{}")))
  if meta.get("network_sha256", inception.sha256) != inception.sha256:
    raise UserError(
      f"{path} was made with other weights than those of the network in use"
    )
  spatial, features = None, arrays.get("features")
  if "mu_s" in arrays:
    spatial = Gaussian(arrays["mu_s"], arrays["sigma_s"])
  if has_pictures:
    pictures = open_npz(path, batch_size)
    features = collect(pictures, extract).column(inception.pool)
  held_out = meta.pop("held_out", {})
  protocol = {"file": str(path), "sha256": sha256, **meta}
  return Reference(
    Gaussian(arrays["mu"], arrays["sigma"]),
    spatial,
    features,
    held_out,
    protocol,
  )
