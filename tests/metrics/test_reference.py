"""Statistics of real images: made once, and read from whoever made them."""

import functools
import json

import numpy as np
import pytest

from lowdiff_jax.metrics.compute import inception_figures
from lowdiff_jax.metrics.inception import OUTPUTS, InceptionV3
from lowdiff_jax.metrics.inception_weights import Inception
from lowdiff_jax.metrics.reference import make_reference, read_reference
from lowdiff_jax.types import Batch, ImageSet, UserError

SIZE = 4
POOL = "pool2048"
OUTPUT_NAMES = ("spatial", POOL, "logits_unbiased")
INCEPTION = Inception(InceptionV3(OUTPUT_NAMES), None, "a" * 64, POOL)


@pytest.fixture(autouse=True)
def few_features(monkeypatch):
  monkeypatch.setitem(OUTPUTS, POOL, SIZE)


def extract(images):
  """Features of the same names and fewer numbers than Inception's."""
  x = images.reshape(len(images), -1).astype(np.float32) / 100
  return {
    POOL: x[:, :SIZE],
    "spatial": x[:, SIZE : 2 * SIZE],
    "logits_unbiased": x[:, ::2],
  }


def pixels(count, seed):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (count, 2, 2, 3), np.uint8)


def make_images(count, seed, read=None):
  batch = Batch(pixels(count, seed), np.arange(count, dtype=np.int32))

  def batches(start):
    if read is not None:
      read.append(start)
    yield batch

  return ImageSet(count, count, batches)


def make(path, read=None, held_out=30, **settings):
  make_reference(
    path,
    make_images(50, 0, read),
    make_images(held_out, 1, read),
    extract,
    POOL,
    settings,
    functools.partial(inception_figures, INCEPTION),
  )


def read(path):
  return read_reference(path, extract, INCEPTION, 8)


def test_what_is_made_can_be_read(tmp_path):
  path = tmp_path / "references" / "a.npz"
  make(path, source="tfds:a")
  found = read(path)
  x = extract(pixels(50, 0))
  np.testing.assert_allclose(found.pool.mean, x[POOL].mean(0), rtol=1e-5)
  covariance = np.cov(x["spatial"].astype(np.float64), rowvar=False)
  np.testing.assert_allclose(found.spatial.covariance, covariance, rtol=1e-6)
  np.testing.assert_array_equal(found.features, x[POOL])
  assert found.held_out.keys() == {
    "fid",
    "sfid",
    "kid",
    "precision",
    "recall",
    "inception_score",
    "inception_score_std",
  }
  assert 0 < found.held_out["fid"] < 1 and found.held_out["precision"] > 0.5
  assert found.protocol["source"] == "tfds:a"
  assert found.protocol["held_out_pictures"] == 30
  assert len(found.protocol["sha256"]) == 64
  assert [file.name for file in path.parent.iterdir()] == ["a.npz"]


@pytest.mark.parametrize(
  ("count", "more"),
  [(2, set()), (3, set()), (4, {"precision", "recall"})],
)
def test_few_images_have_fewer_metrics(count, more, tmp_path):
  make(tmp_path / "a.npz", held_out=count)
  assert (
    read(tmp_path / "a.npz").held_out.keys() == {"fid", "sfid", "kid"} | more
  )


def test_it_is_made_once(tmp_path):
  read_at = []
  make(tmp_path / "a.npz", read_at)
  make(tmp_path / "a.npz", read_at)
  assert read_at == [0, 0]  # The training images and the held-out ones.


def test_an_interrupted_one_goes_on(tmp_path):
  read_at = []
  with pytest.raises(UserError, match="at least 2 images"):
    make(tmp_path / "a.npz", read_at, held_out=1)
  make(tmp_path / "a.npz", read_at)
  assert read_at == [0, 0, 0]  # The training images just once.


def gaussian(size=SIZE):
  return {"mu": np.arange(size) / 2, "sigma": np.eye(size)}


def test_edm_s_files_give_the_frechet_distance_alone(tmp_path):
  np.savez(tmp_path / "edm.npz", **gaussian())
  found = read(tmp_path / "edm.npz")
  assert found.spatial is found.features is None and found.held_out == {}
  assert found.protocol.keys() == {"file", "sha256"}
  np.testing.assert_array_equal(found.pool.mean, [0, 0.5, 1, 1.5])


def test_adm_s_files_have_images_for_precision_and_recall(tmp_path):
  spatial = {"mu_s": np.zeros(SIZE), "sigma_s": 2 * np.eye(SIZE)}
  np.savez(tmp_path / "adm.npz", **gaussian(), **spatial, arr_0=pixels(20, 0))
  found = read(tmp_path / "adm.npz")
  np.testing.assert_array_equal(found.features, extract(pixels(20, 0))[POOL])
  np.testing.assert_array_equal(found.spatial.covariance, 2 * np.eye(SIZE))


def test_files_of_something_else_are_named(tmp_path):
  path = tmp_path / "a.npz"
  with pytest.raises(UserError, match=r"a.npz cannot be read"):
    read(path)
  path.write_bytes(b"?")
  with pytest.raises(UserError, match=r"a.npz cannot be read"):
    read(path)
  np.savez(path, mean=np.zeros(3))
  with pytest.raises(UserError, match=r"a.npz has no mu and sigma"):
    read(path)
  np.savez(path, **gaussian(5))
  with pytest.raises(UserError, match=r"is of 5 features, and .* gives 4"):
    read(path)
  np.savez(path, **gaussian(), meta=json.dumps({"network_sha256": "b" * 64}))
  with pytest.raises(UserError, match="was made with other weights"):
    read(path)
  for features in (3.0, np.zeros((0, SIZE)), np.zeros((5, 2)), np.full(4, "a")):
    np.savez(path, **gaussian(), features=features)
    with pytest.raises(UserError, match=r"features is .* expected numbers"):
      read(path)
