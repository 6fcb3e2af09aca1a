"""Files of arrays: images to score, reference and latents' statistics."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from launch.fuzz.archives import npy, odd_json, odd_npy, write_zip
from launch.fuzz.damage import damage_file
from launch.fuzz.reader import Reader
from launch.fuzz.readers.images import pixels
from lowdiff_jax.data.stored import open_stored
from lowdiff_jax.experiment.latent_sets import read_statistics
from lowdiff_jax.metrics.inception import InceptionV3
from lowdiff_jax.metrics.inception_weights import Inception
from lowdiff_jax.metrics.reference import read_reference

_IMAGES = np.stack([pixels(i) for i in range(6)])
_POOL = "pool64"
_SIZE = 64


def _members(
  rng: random.Random, arrays: dict[str, np.ndarray]
) -> dict[str, bytes]:
  """Their .npy files; in half of the cases one is odd, or lacking."""
  members = {f"{name}.npy": npy(array) for name, array in arrays.items()}
  if rng.random() < 0.6:
    name = rng.choice(list(arrays))
    if rng.random() < 0.1:
      del members[f"{name}.npy"]
    else:
      members[f"{name}.npy"] = odd_npy(rng, arrays[name])
  return members


class _Arrays(Reader):
  """An .npz of some arrays."""

  def arrays(self, rng: random.Random) -> dict[str, np.ndarray]:
    """Valid arrays."""
    raise NotImplementedError

  def make(self, rng: random.Random, folder: Path) -> Path:
    """An .npz whose arrays, zip or bytes are odd."""
    path = folder / "arrays.npz"
    write_zip(rng, path, _members(rng, self.arrays(rng)))
    if rng.random() < 0.5:
      damage_file(rng, path)
    return path


class Stored(_Arrays):
  """Images to score."""

  name = "npz.evaluate"

  def arrays(self, rng: random.Random) -> dict[str, np.ndarray]:
    """See `_Arrays`."""
    return {rng.choice(("arr_0", "images")): _IMAGES}

  def read(self, candidate: Path) -> None:
    """Reads all batches."""
    images = open_stored(candidate, 4, None).images
    read = 0
    for batch in images.read(0):
      assert batch.image.ndim == 4 and batch.image.dtype == np.uint8
      read += len(batch.image)
      if read > 100_000:
        return
    assert read == images.count


class Reference(_Arrays):
  """Statistics of real images."""

  name = "npz.reference"
  share = 0.3

  def __init__(self, seeds: Path) -> None:
    super().__init__(seeds)
    module = InceptionV3((_POOL,), 75)
    self._inception = Inception(module, None, "a" * 64, _POOL)

  def arrays(self, rng: random.Random) -> dict[str, np.ndarray]:
    """See `_Arrays`."""
    matrix = np.eye(_SIZE, dtype=np.float32)
    mean = np.zeros(_SIZE, np.float32)
    meta: Any = {"network_sha256": "a" * 64, "held_out": {"fid": 1.0}}
    if rng.random() < 0.3:
      meta = odd_json(rng, meta)
    text = json.dumps(meta)
    if rng.random() < 0.1:
      text = rng.choice((text[:-3], "", "[" * 50_000, "3", "NaN"))
    arrays = {
      "mu": mean,
      "sigma": matrix,
      "meta": np.array(text),
      "mu_s": mean,
      "sigma_s": matrix,
      "features": matrix[:4],
    }
    if rng.random() < 0.2:
      arrays["arr_0"] = _IMAGES
    if rng.random() < 0.3:
      del arrays[rng.choice(["meta", "mu_s", "sigma_s", "features"])]
    return arrays

  def read(self, candidate: Path) -> None:
    """Reads the statistics; what is returned can be computed with."""

    def extract(images: np.ndarray) -> dict[str, np.ndarray]:
      return {_POOL: np.zeros((len(images), _SIZE), np.float32)}

    found = read_reference(candidate, extract, self._inception, 4)
    for gaussian in (found.pool, found.spatial):
      if gaussian is not None:
        size = gaussian.mean.size
        assert gaussian.mean.shape == (size,)
        assert gaussian.covariance.shape == (size, size)
        assert np.isfinite(gaussian.mean).all()
        assert np.isfinite(gaussian.covariance).all()
    if found.features is not None:
      assert found.features.ndim == 2 and found.features.shape[1] == _SIZE
      assert np.isfinite(found.features).all()
    for value in found.held_out.values():
      assert isinstance(value, int | float), value
    json.dumps(found.protocol)


class Statistics(_Arrays):
  """Mean and standard deviation of latents."""

  name = "npz.statistics"

  def arrays(self, rng: random.Random) -> dict[str, np.ndarray]:
    """See `_Arrays`."""
    shape = rng.choice(((4,), (1, 4, 1, 1)))
    return {"mean": np.zeros(shape, "f4"), "std": np.ones(shape, "f4")}

  def read(self, candidate: Path) -> None:
    """Reads both; they have the latents' channels and are finite."""
    config = ConfigDict({"latents": {"statistics": str(candidate)}})
    mean, std = read_statistics(config, 4)
    assert mean.shape == std.shape == (4,)
    assert np.isfinite(mean).all() and (std > 0).all()


READERS: tuple[type[Reader], ...] = (Stored, Reference, Statistics)
