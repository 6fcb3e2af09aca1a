"""What LightningDiT costs: parameters, MACs, program, memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lowdiff_jax.models import dit
from lowdiff_jax.models.weights import state_dict
from lowdiff_jax.profiling import flops
from tests.models.networks import operations
from tests.models.test_dit import make


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
  assert state_dict.count(params["params"]) == count
  table = network.position_table(np.arange(16), network.hidden_size)
  assert table.size == 256 * network.hidden_size
  more, *_ = shapes(full_size(size, condition_channels=32), 16, 64)
  added = state_dict.count(more["params"]) - count
  assert added == 32 * network.hidden_size


@pytest.mark.parametrize(
  ("side", "published"), [(16, 22.96), (8, 5.51), (4, 1.36)]
)
def test_an_evaluation_costs_what_is_published(side, published):
  """10^9 MACs of B/1, but for what is computed once an image."""
  network = full_size("B")
  params, *args = shapes(network, side)
  cost = flops.macs(network.apply, params, *args)
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

  none, dots, attention, full = map(stored, dit.REMAT)
  assert none > 1.2 * dots > 1.2 * attention > attention > full
