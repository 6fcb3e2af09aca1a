"""The U-Net's layers compute what their usual forms do, in fewer steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from lowdiff_jax.models import blocks, layers
from lowdiff_jax.models.attention import attention
from tests.models.networks import init, inputs, make, operations


def normal(seed, *shape):
  rng = np.random.default_rng(seed)
  return jnp.asarray(rng.standard_normal(shape), jnp.float32)


def assert_same(ours, usual, *args, tolerance=2e-5):
  """Values and gradients are equal to rounding."""
  (y, pull), (expected, pull_expected) = (
    jax.vjp(jax.jit(f), *args) for f in (ours, usual)
  )
  cotangent = normal(9, *y.shape)
  results = (y, pull(cotangent)), (expected, pull_expected(cotangent))
  for a, b in zip(*map(jax.tree.leaves, results), strict=True):
    np.testing.assert_allclose(a, b, atol=tolerance * float(jnp.abs(b).max()))


@pytest.mark.parametrize("channels", [8, 48, 192])
def test_group_norm_is_that_of_flax(channels):
  ours = layers.group_norm(channels, "norm")
  usual = nn.GroupNorm(min(32, channels // 4), epsilon=1e-6)
  x = 3 * normal(0, 2, 4, 4, channels) + normal(1, 2, 1, 1, channels)
  params = {"scale": normal(2, channels), "bias": normal(3, channels)}
  assert_same(
    *(lambda p, x, m=m: m.apply({"params": p}, x) for m in (ours, usual)),
    params,
    x,
  )


def test_silu_is_that_of_jax():
  x = jnp.linspace(-10, 10, 201)
  assert_same(layers.silu, jax.nn.silu, x)


@pytest.mark.parametrize("heads", [1, 2])
def test_attention_sorts_the_columns_of_qkv(heads):
  """The published form takes q, k and v from every third output channel."""
  ours = blocks.SelfAttention(num_heads=heads)
  x = normal(0, 2, 4, 4, 16)
  params = ours.init(jax.random.key(0), x)["params"]
  params = jax.tree.map(lambda p: p + 0.1 * normal(1, *p.shape), params)

  def published(params, x):
    norm = layers.group_norm(16, "norm2")
    normed = norm.apply({"params": params["norm2"]}, x)
    qkv = nn.Conv(48, (1, 1)).apply({"params": params["qkv"]}, normed)
    qkv = qkv.reshape(2, 16, heads, 16 // heads, 3)
    out = attention(*jnp.moveaxis(qkv, -1, 0)).reshape(x.shape)
    return nn.Conv(16, (1, 1)).apply({"params": params["proj"]}, out)

  assert_same(lambda p, x: ours.apply({"params": p}, x), published, params, x)


def test_dropout():
  key, x = jax.random.key(0), normal(0, 4, 16, 16, 8)
  position = jnp.arange(len(x))
  y, pull = jax.vjp(lambda x: layers.dropout(key, position, x, 0.25), x)
  kept = y != 0
  assert 0.73 < kept.mean() < 0.77
  np.testing.assert_allclose(y, jnp.where(kept, x / 0.75, 0), rtol=1e-6)
  (gradient,) = pull(jnp.ones_like(x))
  np.testing.assert_allclose(gradient, kept / 0.75)
  # An image keeps its mask wherever it is.
  other = layers.dropout(key, position[::-1], x[::-1], 0.25)
  np.testing.assert_allclose(other[::-1], y, rtol=1e-6)


def test_a_convolution_and_its_gradients():
  ours, usual = layers.conv(6), nn.Conv(6, (3, 3))
  x = normal(0, 2, 8, 8, 4)
  params = ours.init(jax.random.key(0), x)["params"]
  functions = [
    lambda p, x, m=m: m.apply({"params": p}, x) for m in (ours, usual)
  ]
  assert_same(*functions, params, x)
  tangents = jax.tree.map(lambda p: normal(1, *p.shape), (params, x))
  a, b = (jax.jvp(f, (params, x), tangents)[1] for f in functions)
  np.testing.assert_allclose(a, b, atol=1e-5)


def test_convolutions_read_stored_images():
  """What computes them stays outside, or a TPU compiles for hours."""
  module, params = make((4, 8)), init((4, 8))
  noisy, sigma, cond = inputs(8)

  def loss(params, noisy):
    return module.apply({"params": params}, noisy, sigma, cond).sum()

  gradient = jax.grad(loss, argnums=(0, 1))
  jaxpr = jax.make_jaxpr(gradient)(params, noisy).jaxpr
  made_by = {
    variable: eqn.primitive.name
    for eqn in operations(jaxpr)
    for variable in eqn.outvars
  }
  convolutions = [
    eqn
    for eqn in operations(jaxpr)
    if eqn.primitive.name == "conv_general_dilated"
  ]
  assert len(convolutions) > 60
  for eqn in convolutions:
    sources = {made_by.get(v) for v in eqn.invars if not hasattr(v, "val")}
    assert "optimization_barrier" in sources


def test_sums_of_blocks_are_stored_on_a_tpu():
  """Other devices are slower for it: their program has no barrier there."""
  block = blocks.UNetBlock(8)
  x, emb = normal(0, 1, 4, 4, 8), normal(1, 1, 16)
  params = block.init(jax.random.key(0), x, emb)

  def barriers(platform):
    loss = jax.grad(lambda p: jnp.square(block.apply(p, x, emb)).sum())
    lowered = jax.jit(loss).trace(params).lower(lowering_platforms=(platform,))
    return lowered.as_text().count("optimization_barrier")

  counts = [barriers(p) for p in ("cpu", "cuda", "tpu")]
  assert counts[0] == counts[1] == counts[2] - 1
