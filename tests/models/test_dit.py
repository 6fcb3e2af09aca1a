"""The laws of LightningDiT; parity itself is in test_pretrained.py."""

import collections
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lowdiff_jax.evaluate import flops, verify
from lowdiff_jax.interfaces import NO_LABEL, UserError
from lowdiff_jax.models import dit, position, pretrained, pretrained_dit
from tests.models.test_denoiser import operations, randomised
from tests.models.test_pretrained import LIGHTNINGDIT, rewrite

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


def full_size(size, **fields):
  depth, hidden_size, num_heads = dit.SIZES[size]
  return dit.LightningDiT(
    out_channels=32,
    hidden_size=hidden_size,
    depth=depth,
    num_heads=num_heads,
    input_size=16,
    num_classes=1000,
    **fields,
  )


def shapes(network, side, channels=32):
  """Of the parameters and of the other arguments, for one image."""
  spec = jax.ShapeDtypeStruct
  args = (
    spec((1, side, side, channels), jnp.float32),
    spec((1,), jnp.float32),
    spec((1,), jnp.int32),
  )
  return jax.eval_shape(network.init, jax.random.key(0), *args), *args


@pytest.mark.parametrize(
  ("size", "count"),
  [("B", 130_359_584), ("L", 457_890_816), ("XL", 674_961_824)],
)
def test_full_size_parameter_counts(size, count):
  """The published ones, which leave out the fixed positions, 256 x width."""
  network = full_size(size)
  params, *_ = shapes(network, 16)
  assert pretrained.count(params["params"]) == count
  table = network.position_table(np.arange(16), network.hidden_size)
  assert table.size == 256 * network.hidden_size
  more, *_ = shapes(full_size(size, condition_channels=32), 16, 64)
  added = pretrained.count(more["params"]) - count
  assert added == 32 * network.hidden_size


@pytest.mark.parametrize(
  ("side", "published"), [(16, 22.96), (8, 5.51), (4, 1.36)]
)
def test_an_evaluation_costs_what_is_published(side, published):
  """10^9 multiply-adds of B/1, but for what is computed once an image."""
  network = full_size("B")
  params, *args = shapes(network, side)
  cost = flops.multiply_adds(network.apply, params, *args)
  per_image = sum(
    leaf.size
    for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    if {"adaLN", "t_embedder"} & {key.key for key in path}
    if path[-1].key == "kernel"
  )
  assert 0 < per_image < 0.05e9
  assert (cost - per_image) / 1e9 == pytest.approx(published, rel=0.005)


@pytest.mark.parametrize("remat", dit.REMAT)
def test_the_program_does_not_grow_with_depth(remat):
  def equations(depth):
    network = make(depth=depth, remat=remat)
    args = shapes(network, 4, 2)
    gradient = jax.grad(lambda *args: network.apply(*args).sum())
    return sum(1 for _ in operations(jax.make_jaxpr(gradient)(*args).jaxpr))

  assert equations(2) == equations(7) > 100


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


def test_positions_are_as_published():
  """Columns first when added, rows first when turned."""
  side, features, token = 4, 8, 4 * 1 + 3
  table = position.sincos_table(np.arange(side), features)
  angles = [3, 3 / 100, 1, 1 / 100]
  sines, cosines = np.sin(angles), np.cos(angles)
  expected = [*sines[:2], *cosines[:2], *sines[2:], *cosines[2:]]
  np.testing.assert_allclose(table[token], expected, atol=1e-6)
  cos, sin = position.rotary_table(np.arange(side), features)
  np.testing.assert_allclose(
    np.arctan2(sin, cos)[token, 0], [1, 1 / 100, 3, 3 / 100], atol=1e-6
  )


def test_attention_sees_differences_of_positions():
  """A product of turned vectors is that of any two tokens so far apart."""
  rng = np.random.default_rng(0)
  query, key = (
    jnp.broadcast_to(rng.standard_normal(8), (1, 16, 1, 8)) for _ in range(2)
  )
  table = position.rotary_table(np.arange(4), 8)
  turned = [position.rotate(x, *table)[0, :, 0] for x in (query, key)]
  products = (turned[0] @ turned[1].T).reshape(4, 4, 4, 4)
  np.testing.assert_allclose(
    products[:3, :3, :3, :3], products[1:, 1:, 1:, 1:], atol=1e-4
  )
  assert jnp.std(products) > 0.1


def test_remat_changes_nothing_but_rounding():
  params, args = trained(), inputs()

  def outcome(remat):
    def total(params):
      return jnp.square(make(remat=remat).apply(params, *args)).mean()

    return jax.jit(jax.value_and_grad(total))(params)

  expected = outcome("none")
  for remat in ("dots", "full"):
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
      outcome(remat),
      expected,
    )


def test_remat_stores_less():
  """Of what the backward pass is handed by the forward pass."""

  def stored(remat):
    network = make(remat=remat)
    params, x, t, _ = shapes(network, 4, 2)

    def forward(params, x, t):
      label = jnp.zeros(1, jnp.int32)
      return jax.vjp(lambda p: network.apply(p, x, t, label), params)[1]

    backward = jax.eval_shape(forward, params, x, t)
    return sum(leaf.size for leaf in jax.tree.leaves(backward))

  assert stored("none") > 1.2 * stored("dots") > 1.2 * stored("full")


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
  # In float32 are two products for the time, two for modulations, and the one
  # in front of the softmax; what is added in 16 bits are biases alone.
  assert kinds["dot_general", "float32"] == 5
  assert kinds["dot_general", "bfloat16"] == kinds["add", "bfloat16"] == 6


QKV = "params/blocks.1.attn.qkv.weight"


def test_a_wrong_weight_shows(tmp_path, capsys):
  samples = ("euler", "euler_cfg", "euler_cfg_first3")
  path = rewrite(
    tmp_path / "a.npz",
    LIGHTNINGDIT,
    **{QKV: np.load(LIGHTNINGDIT)[QKV] * 1.01},
    **{f"out/{name}": None for name in samples},
  )
  assert verify.run(["verify", str(path)]) == 1
  assert "OFF" in capsys.readouterr().out


CONFIG = json.loads(str(np.load(LIGHTNINGDIT)["config"]))


@pytest.mark.parametrize(
  ("changes", "said"),
  [
    ({QKV: None}, "the file lacks the parameter blocks.1.attn.qkv.weight"),
    ({QKV: np.zeros((192, 63))}, "blocks.1.attn.qkv.weight is"),
    ({"config": json.dumps({**CONFIG, "depth": 3})}, "in this network"),
    ({"config": json.dumps({**CONFIG, "input_size": 16})}, "16x16 tokens"),
    ({"config": json.dumps({**CONFIG, "use_rope": False})}, "with use_rope"),
  ],
)
def test_wrong_files_are_named(changes, said, tmp_path, capsys):
  path = rewrite(tmp_path / "a.npz", LIGHTNINGDIT, **changes)
  assert verify.run(["verify", str(path)]) == 2
  error = capsys.readouterr().err
  assert said in error and error.count("\n") == 1


def test_positions_of_a_file_are_compared():
  state = {"pos_embed": position.sincos_table(np.arange(4), 8)[None]}
  # A moving average has drifted a little.
  drifted = {"pos_embed": state["pos_embed"] + 5e-4}
  assert pretrained_dit.dit_params(drifted, 4) == {}
  for wrong in (state["pos_embed"][:, ::-1], state["pos_embed"] + 0.1):
    with pytest.raises(UserError, match="pos_embed"):
      pretrained_dit.dit_params({"pos_embed": wrong}, 4)
  with pytest.raises(UserError, match="8x8 tokens"):
    pretrained_dit.dit_params(state, 8)
