"""The laws of LightningDiT."""

import collections
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lowdiff_jax.models import dit, position
from lowdiff_jax.types import NO_LABEL, UserError
from tests.models.networks import operations, randomised

TINY = {
  "out_channels": 2,
  "hidden_size": 16,
  "depth": 2,
  "num_heads": 2,
  "input_size": 4,
  "num_classes": 3,
}


def make(**fields):
  return dit.LightningDiT(**{**TINY, **fields})


def inputs(side=4, channels=2):
  rng = np.random.default_rng(side)
  x = rng.standard_normal((3, side, side, channels), np.float32)
  return x, jnp.array([0.0, 0.3, 1.0]), jnp.array([0, 2, NO_LABEL])


@functools.cache
def init(**fields):
  """Initial parameters; of any grid, for all have the same."""
  network = make(**fields)
  side = network.input_size * network.patch_size
  channels = network.out_channels + network.condition_channels
  return jax.jit(network.init)(jax.random.key(0), *inputs(side, channels))


def trained(**fields):
  return randomised(init(**fields))


def test_initial_values_are_as_published():
  """Xavier by the fans of one layer; what ends a branch is zero."""
  params = init(hidden_size=64, depth=3)["params"]
  kernel = params["blocks"]["attn"]["qkv"]["kernel"]
  bound = np.sqrt(6 / (64 + 3 * 64))
  assert kernel.shape == (3, 64, 192)
  for layer in kernel:
    assert 0.97 * bound < jnp.abs(layer).max() <= bound
  assert not jnp.array_equal(kernel[0], kernel[1])
  for zero in (
    params["blocks"]["adaLN"],
    params["final_layer"]["adaLN"],
    params["final_layer"]["linear"],
  ):
    assert not any(leaf.any() for leaf in jax.tree.leaves(zero))
  for normal in (
    params["y_embedder"]["embedding"],
    params["t_embedder"]["mlp_0"]["kernel"],
    params["t_embedder"]["mlp_2"]["kernel"],
  ):
    assert normal.std() == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize("patch_size", [1, 2])
def test_condition_starts_without_effect(patch_size):
  fields = {"patch_size": patch_size, "condition_channels": 3}
  kernel = init(**fields)["params"]["x_embedder"]["kernel"]
  assert kernel.shape == (patch_size, patch_size, 5, 16)
  fan = patch_size**2 * 2 + 16
  assert jnp.abs(kernel[:, :, :2]).max() <= np.sqrt(6 / fan)
  assert kernel[:, :, :2].all() and not kernel[:, :, 2:].any()


@pytest.mark.parametrize("side", [4, 8, 16])
def test_one_tree_serves_all_grids(side):
  out = make().apply(trained(), *inputs(side))
  assert out.shape == (3, side, side, 2) and out.dtype == jnp.float32
  assert jnp.isfinite(out).all() and jnp.abs(out).max() > 0.1


def test_patches_are_put_back_where_they_came_from():
  """An output pixel that only its own patch can tell."""
  network = make(patch_size=2, input_size=2, depth=1)
  params = trained(patch_size=2, input_size=2, depth=1)
  # Without attention, a patch sees nothing but itself.
  params["params"]["blocks"]["attn"]["proj"]["kernel"] *= 0
  x, *args = inputs(4)
  changed = network.apply(params, jnp.asarray(x).at[:, 2, 1].add(1), *args)
  moved = jnp.abs(changed - network.apply(params, x, *args)).max((0, 3)) > 1e-4
  expected = np.zeros((4, 4), bool)
  expected[2:, :2] = True
  np.testing.assert_array_equal(moved, expected)


def test_all_that_it_is_told_matters():
  network, params = make(), trained()
  x, t, label = inputs()
  before = network.apply(params, x, t, label)
  for told in (
    (x, t + 0.1, label),
    (x, t, jnp.array([1, 1, 1])),
    (x, t, label, jnp.full((3, 16), 0.1)),
  ):
    after = network.apply(params, *told)
    assert (jnp.abs(after - before).max((1, 2, 3)) > 1e-4).all()
  with pytest.raises(UserError, match="no augmentation labels"):
    network.apply(params, x, t, label, augment=jnp.zeros((3, 9)))


def test_no_label_is_the_last_row_of_the_table():
  network, params = make(), trained()
  x, t, _ = inputs()
  unlabelled = network.apply(params, x, t, jnp.full(3, NO_LABEL))
  last = network.apply(params, x, t, jnp.full(3, 3))
  np.testing.assert_array_equal(unlabelled, last)
  assert "y_embedder" not in init(num_classes=0)["params"]


def test_queries_and_keys_are_normalised_if_asked():
  """Then their size is of no matter."""
  network, params = make(qk_norm=True), trained(qk_norm=True)
  before = network.apply(params, *inputs())
  qkv = params["params"]["blocks"]["attn"]["qkv"]
  for name in ("kernel", "bias"):
    qkv[name] = qkv[name].at[..., :32].multiply(3)
  np.testing.assert_allclose(
    network.apply(params, *inputs()), before, atol=1e-3
  )


def test_stretched_positions_cover_the_extent_of_the_largest_grid():
  """So a smaller grid's tokens are some of its tokens."""
  seen = {}

  def spy(positions, features):
    seen.setdefault(kind, []).append(positions)
    return position.sincos_table(positions, features)

  params, outputs = trained(), {}
  for kind in dit.POSITIONS:
    network = make(positions=kind, position_table=spy)
    outputs[kind] = [network.apply(params, *inputs(side)) for side in (4, 2)]
  np.testing.assert_array_equal(seen["integer"][0], seen["stretched"][0])
  np.testing.assert_array_equal(seen["integer"][0][::2], seen["stretched"][1])
  np.testing.assert_array_equal(seen["integer"][0][:2], seen["integer"][1])
  top, small = zip(*outputs.values(), strict=True)
  np.testing.assert_array_equal(*top)
  assert jnp.abs(small[0] - small[1]).max() > 1e-3


def test_remat_changes_nothing_but_rounding():
  params, args = trained(), inputs()

  def outcome(remat):
    def total(params):
      return jnp.square(make(remat=remat).apply(params, *args)).mean()

    return jax.jit(jax.value_and_grad(total))(params)

  expected = outcome("none")
  for remat in ("dots", "attention", "full"):
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
      outcome(remat),
      expected,
    )


def test_bfloat16_rounds_and_keeps_what_needs_float32():
  rounded, args = make(dtype=jnp.bfloat16), inputs()
  params, fresh = trained(), init(dtype=jnp.bfloat16)
  assert {leaf.dtype.name for leaf in jax.tree.leaves(fresh)} == {"float32"}
  exact, close = (n.apply(params, *args) for n in (make(), rounded))
  assert close.dtype == jnp.float32
  error = jnp.abs(close - exact).max() / jnp.abs(exact).max()
  assert 1e-6 < error < 0.03
  jaxpr = jax.make_jaxpr(rounded.apply)(params, *args).jaxpr
  kinds = collections.Counter(
    (eqn.primitive.name, eqn.outvars[0].aval.dtype.name)
    for eqn in operations(jaxpr)
  )
  for name in ("rsqrt", "exp", "reduce_sum"):
    assert kinds[name, "float32"] and not kinds[name, "bfloat16"]
  # In float32 are two products for the time, two for modulations, and both of
  # attention; what is added in 16 bits are biases alone.
  assert kinds["dot_general", "float32"] == 6
  assert kinds["dot_general", "bfloat16"] == 8
  assert kinds["add", "bfloat16"] == 9
