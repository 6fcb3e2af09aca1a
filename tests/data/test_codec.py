"""Between what a source holds, what the denoiser sees, and images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lowdiff_jax import distributed
from lowdiff_jax.data import codec
from lowdiff_jax.data.codec import sample_posterior
from lowdiff_jax.diffusion import pyramid
from lowdiff_jax.models.autoencoders.kl import KLAutoencoder

MODULE = KLAutoencoder(
  resolution=16,
  channels=32,
  channel_mult=(1, 1),
  num_blocks=1,
  attn_resolutions=(),
  latent_channels=4,
)
MEAN, STD = np.array([0.1, -0.2, 0.0, 1.0]), np.array([1.0, 2.0, 0.5, 1.5])
PICTURES = np.random.default_rng(0).integers(0, 256, (11, 16, 16, 3), np.uint8)


@pytest.fixture(scope="module")
def params():
  init = jax.jit(MODULE.init)
  return init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))["params"]


def make(params, batch_size, devices):
  mesh = distributed.make_mesh(devices=jax.devices()[:devices])
  return codec.latents(
    lambda: (MODULE, params),
    MEAN,
    STD,
    factor=2,
    batch_size=batch_size,
    mesh=mesh,
  )


@pytest.mark.parametrize(("batch_size", "devices"), [(4, 1), (3, 2)])
def test_latents_there_and_back(params, batch_size, devices):
  """Whatever the batch, as the autoencoder itself does it."""
  made = make(params, batch_size, devices)
  x = made.encode(PICTURES)
  variables = {"params": params}
  image = PICTURES / 127.5 - 1
  z, _ = MODULE.apply(variables, image, method="encode")
  np.testing.assert_allclose(x, (z - MEAN) / STD, atol=1e-5)
  np.testing.assert_allclose(made.normalise(z), x, atol=1e-5)
  decoded = np.asarray(made.decode(x))
  expected = codec.to_uint8(MODULE.apply(variables, z, method="decode"))
  assert decoded.dtype == np.uint8 and decoded.shape == PICTURES.shape
  assert np.abs(decoded.astype(int) - np.asarray(expected)).max() <= 1


def test_normalising_takes_each_resolution():
  made = make(None, 4, 1)
  small, large = made.normalise((np.ones((2, 4, 4, 4)), np.ones((2, 8, 8, 4))))
  np.testing.assert_allclose(small[0, 0, 0], (1 - MEAN) / STD, atol=1e-6)
  assert large.shape == (2, 8, 8, 4)


def encoder(params, **changes):
  settings = {"posterior": "sample", "seed": 0, "resolutions": 1, **changes}
  mesh = distributed.make_mesh(devices=jax.devices()[:1])
  return codec.make_encoder(MODULE, params, mesh=mesh, **settings)


def test_a_record_is_a_draw_of_its_own(params):
  """By (seed, record) alone, of the image's posterior."""
  encode = encoder(params)
  (z,) = encode(PICTURES[:4], np.array([5, 6, 7, 7]))
  (again,) = encode(PICTURES[[1, 0, 3, 2]], np.array([6, 5, 7, 7]))
  swapped = np.array([1, 0, 3, 2])
  np.testing.assert_allclose(z[swapped], again, atol=1e-5)
  image = PICTURES[:4] / 127.5 - 1
  mean, logvar = MODULE.apply({"params": params}, image, method="encode")
  keys = jax.vmap(jax.random.fold_in, (None, 0))(
    jax.random.key(0), np.array([5, 6, 7, 7])
  )
  np.testing.assert_allclose(z, sample_posterior(keys, mean, logvar), atol=1e-5)
  (mode,) = encoder(params, posterior="mode")(PICTURES[:4], np.arange(4))
  np.testing.assert_allclose(mode, mean, atol=1e-5)


def test_lower_latents_are_those_of_the_reduced_picture(params):
  encode = encoder(params, posterior="mode", resolutions=2)
  low, top = encode(PICTURES[:4], np.arange(4))
  assert low.shape == (4, 4, 4, 4) and top.shape == (4, 8, 8, 4)
  reduced = pyramid.downsample(codec.from_uint8(PICTURES[:4]))
  mean, _ = MODULE.apply({"params": params}, reduced, method="encode")
  np.testing.assert_allclose(low, mean, atol=1e-5)
  assert np.abs(low - pyramid.downsample(top)).max() > 0.1
