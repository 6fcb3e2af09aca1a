"""The autoencoder of latent diffusion, weight for weight, and its posterior."""

import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lowdiff_jax.data import codec
from lowdiff_jax.models.autoencoders import kl
from lowdiff_jax.models.weights import state_dict
from lowdiff_jax.models.weights.autoencoder_layouts import autoencoder_params
from lowdiff_jax.parity import verify
from lowdiff_jax.types import UserError
from tests.command_line import REPOSITORY

GOLDEN = REPOSITORY / "tests" / "golden" / "ldm_autoencoder.npz"
VA_VAE = kl.KLAutoencoder()


@pytest.fixture(scope="module")
def golden():
  """The golden network, its parameters and its inputs, NHWC."""
  with np.load(GOLDEN) as file:
    module = verify.ldm_autoencoder(json.loads(str(file["config"])))
    image, latent = (
      file[f"in/{name}"].transpose(0, 2, 3, 1) for name in ("image", "latent")
    )
  return (
    module,
    autoencoder_params(state_dict.read_state(GOLDEN)),
    image,
    latent,
  )


def run(module, params, x, method):
  apply = jax.jit(lambda p, x: module.apply({"params": p}, x, method=method))
  return apply(params, x)


def shapes(module, *sides):
  image = jnp.zeros((1, *sides, 3))
  return jax.eval_shape(module.init, jax.random.key(0), image)["params"]


def test_outputs_are_those_of_the_published_network(capsys):
  assert verify.run(["verify", str(GOLDEN)]) == 0
  lines = capsys.readouterr().out.splitlines()
  assert len(lines) == 3 and all(line.startswith("ok ") for line in lines)


def test_full_size_parameter_counts():
  params = shapes(VA_VAE, 256, 256)
  assert state_dict.count(params["encoder"]) == 28_413_248
  assert state_dict.count(params["decoder"]) == 41_417_603
  assert state_dict.count(params) == 69_836_067


def test_images_of_other_sizes_meet_the_same_network():
  params = shapes(VA_VAE, 256, 256)
  assert "down_4_attn_0" in params["encoder"]
  for sides in ((128, 128), (16, 48)):
    chex.assert_trees_all_equal(shapes(VA_VAE, *sides), params)
    latent = tuple(side // VA_VAE.factor for side in sides)
    image = jnp.zeros((2, *sides, 3))
    mean, logvar = jax.eval_shape(
      lambda p, x: VA_VAE.apply({"params": p}, x, method="encode"),
      params,
      image,
    )
    assert mean.shape == logvar.shape == (2, *latent, VA_VAE.latent_channels)
    decoded = jax.eval_shape(
      lambda p, x: VA_VAE.apply({"params": p}, x, method="decode"), params, mean
    )
    assert decoded.shape == image.shape


def test_bfloat16_computes_the_same_roughly_and_gives_float32(golden):
  module, params, _, latent = golden
  full = run(module, params, latent, "decode")
  half = run(module.clone(dtype=jnp.bfloat16), params, latent, "decode")
  assert half.dtype == jnp.float32
  assert 1e-4 < jnp.std(half - full) / jnp.std(full) < 0.02


def test_the_log_variance_is_clipped(golden):
  module, params, image, _ = golden
  channels = module.latent_channels
  bias = np.repeat([0.0, 1e3, -1e3], [channels, 1, channels - 1])
  params = {**params, "quant_conv": {**params["quant_conv"], "bias": bias}}
  _, logvar = run(module, params, image, "encode")
  assert jnp.all(logvar[..., 0] == 20) and jnp.all(logvar[..., 1:] == -30)


def test_a_posterior_sample_has_the_given_mean_and_variance():
  mean = jnp.array([-3.0, 0.5])
  logvar = jnp.array([-4.0, 1.0])
  each = jnp.broadcast_to(mean, (400, 8, 8, 2))
  sample = codec.sample_posterior(
    jax.random.split(jax.random.key(0), 400),
    each,
    jnp.broadcast_to(logvar, each.shape),
  )
  z = (sample - mean) / np.exp(logvar / 2)
  error = 1 / np.sqrt(400 * 8 * 8)
  np.testing.assert_allclose(z.mean((0, 1, 2)), 0, atol=5 * error)
  np.testing.assert_allclose(z.var((0, 1, 2)), 1, atol=5 * error * 2**0.5)


def test_a_posterior_sample_depends_on_its_own_key_alone():
  keys = jax.random.split(jax.random.key(0), 3)
  mean, logvar = jax.random.normal(jax.random.key(1), (2, 3, 4, 4, 2))
  batch = codec.sample_posterior(keys, mean, logvar)
  for i in range(3):
    one = slice(i, i + 1)
    alone = codec.sample_posterior(keys[one], mean[one], logvar[one])
    np.testing.assert_array_equal(alone, batch[one])
  assert codec.sample_posterior(keys, mean, None) is mean


WEIGHT = "encoder.down.1.attn.0.q.weight"


@pytest.mark.parametrize(
  ("changes", "said"),
  [
    ({WEIGHT: None}, "lacks .* encoder/down_1_attn_0/q/kernel"),
    ({WEIGHT: np.zeros((8, 64, 1, 1))}, "down_1_attn_0/q/kernel is"),
    ({"decoder.up.7.block.0.conv1.bias": np.zeros(3)}, "has no parameter"),
    ({"quant_conv.bias": None}, "lacks .* quant_conv/bias"),
  ],
)
def test_wrong_weights_are_named(changes, said, golden):
  state = {**state_dict.read_state(GOLDEN), **changes}
  state = {name: array for name, array in state.items() if array is not None}
  with pytest.raises(UserError, match=said):
    state_dict.exactly(shapes(golden[0], 32, 32), autoencoder_params(state))


def test_what_only_training_needed_is_left_out():
  state = state_dict.read_state(GOLDEN)
  more = dict.fromkeys(
    ("loss.discriminator.main.0.weight", "linear_proj.weight", "step"),
    np.zeros(3),
  )
  chex.assert_trees_all_equal(
    autoencoder_params(state | more), autoencoder_params(state)
  )
