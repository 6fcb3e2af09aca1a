"""What bfloat16 rounds, and which kernel attends."""

import collections

import jax
import jax.numpy as jnp
import pytest

from lowdiff_jax.models import attention, unified
from tests.models.networks import init, inputs, make, operations, randomised


def test_bfloat16_rounds_and_keeps_what_needs_float32():
  """Same float32 parameters; norms, softmax and sums stay float32."""
  params = randomised(init((4, 8)))
  noisy, sigma, cond = inputs(8)

  def denoise(dtype):
    module = make((4, 8))
    module = module.clone(backbone=module.backbone.clone(dtype=dtype))
    return unified.bind(module, params)

  exact = denoise(jnp.float32)(noisy, sigma, cond)
  rounded = jax.jit(denoise(jnp.bfloat16))(noisy, sigma, cond)
  assert rounded.dtype == jnp.float32
  error = jnp.abs(rounded - exact).max() / jnp.abs(exact).max()
  assert 1e-6 < error < 0.02
  jaxpr = jax.make_jaxpr(denoise(jnp.bfloat16))(noisy, sigma, cond).jaxpr
  kinds = collections.Counter(
    (eqn.primitive.name, eqn.outvars[0].aval.dtype.name)
    for eqn in operations(jaxpr)
  )
  for name in ("rsqrt", "tanh", "exp", "reduce_sum"):
    assert kinds[name, "float32"] and not kinds[name, "bfloat16"]
  # What is added in 16 bits are the biases of convolutions and, in three
  # attentions, of queries, keys and values.
  assert not kinds["conv_general_dilated", "float32"]
  biases = kinds["conv_general_dilated", "bfloat16"] + 3 * 3
  assert biases == kinds["add", "bfloat16"]


@pytest.mark.parametrize(
  ("capability", "dtype", "size", "fused"),
  [
    (None, jnp.bfloat16, 64, False),  # a CPU or a TPU
    ("7.0", jnp.float16, 64, False),
    ("8.0", jnp.bfloat16, 128, True),
    ("8.0", jnp.bfloat16, 256, False),
    ("9.0", jnp.bfloat16, 256, True),
    ("9.0", jnp.bfloat16, 60, False),
    ("9.0", jnp.float32, 64, False),
    ("gfx942", jnp.bfloat16, 64, False),
  ],
)
def test_cudnn_attends_where_it_can(capability, dtype, size, fused):
  assert attention.cudnn_attends(capability, dtype, size) == fused
