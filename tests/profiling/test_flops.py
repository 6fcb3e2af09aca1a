"""Multiply-adds are counted as the literature counts them."""

import functools
import types

import jax
import jax.numpy as jnp
import pytest
from jax._src.cudnn import fused_attention_stablehlo as cudnn

from lowdiff_jax.console import Compiling
from lowdiff_jax.experiment.cost import training_macs
from lowdiff_jax.experiment.parts import build_experiment
from lowdiff_jax.experiment.schema import resolutions
from lowdiff_jax.models import attention
from lowdiff_jax.profiling import flops, throughput
from lowdiff_jax.profiling.compiled import compile_program
from lowdiff_jax.types import ImageSpec
from tests import tiny


def test_counts_products_and_convolutions():
  a, b = jnp.zeros((5, 2, 3)), jnp.zeros((5, 3, 7))
  assert flops.macs(jnp.matmul, a, b) == 5 * 2 * 3 * 7
  x, kernel = jnp.zeros((2, 8, 8, 6)), jnp.zeros((3, 3, 2, 9))
  convolve = functools.partial(
    jax.lax.conv_general_dilated,
    window_strides=(2, 2),
    padding="SAME",
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
    feature_group_count=3,
  )
  count = 2 * 4 * 4 * 9 * (3 * 3 * 2)
  assert flops.macs(convolve, x, kernel) == count
  assert flops.macs(jax.jit(convolve), x, kernel) == count


def test_counts_every_turn_of_a_scan():
  a = jnp.zeros((4, 4))

  def power(a):
    return jax.lax.scan(lambda x, _: (x @ a, None), a, length=6)[0]

  assert flops.macs(power, a) == 6 * 4**3
  with pytest.raises(ValueError, match="while"):
    flops.macs(
      lambda a: jax.lax.while_loop(lambda x: x.sum() < 9, lambda x: x @ a, a), a
    )


def test_counts_attention_on_a_device_that_would_fuse_it(monkeypatch):
  monkeypatch.setattr(cudnn, "check_cudnn_version", lambda: 91000)
  gpu = types.SimpleNamespace(compute_capability="9.0")
  heads = jax.ShapeDtypeStruct((2, 16, 1, 8), jnp.bfloat16)
  fused = attention.fused_attention(gpu)
  traced = str(jax.make_jaxpr(fused)(heads, heads, heads))
  assert "dot_product_attention_fwd" in traced
  count = flops.macs(fused, heads, heads, heads)
  assert count == 2 * (2 * 16 * 16 * 8)


@pytest.mark.parametrize(
  ("name", "entry", "published"),
  [
    ("cifar10", "matching_level", {32: 21.19, 16: 5.63, 8: 1.08}),
    ("cifar10", "top_level", {32: 21.19, 16: 5.27, 8: 1.31}),
    ("ffhq64", "matching_level", {64: 41.86, 32: 21.79, 16: 5.63}),
  ],
)
def test_full_size_networks_cost_what_is_published(name, entry, published):
  """10^9 MACs of an evaluation at each resolution, to 3 %."""
  config = tiny.config("", name, **{"model.entry": entry})
  spec = ImageSpec(resolutions(config)[-1], 3, 0)
  experiment = build_experiment(config, spec)
  assert set(resolutions(config)) == set(published)
  for k, side in enumerate(resolutions(config)):
    cost = throughput.evaluation_cost(
      experiment.generator, experiment.state_shapes.params, side, k > 0
    )
    assert cost / 1e9 == pytest.approx(published[side], rel=0.03)


def test_peak_of_this_device():
  """Of the order of a matrix product's speed, and never of a data sheet's."""
  peak = flops.peak("float32")
  assert 1e8 < peak.flops < 1e13 and "matrix product" in peak.name


def test_training_costs_three_evaluations_of_each_image_of_a_stage():
  fields = tiny.stages(batch_size=(8, 4))
  experiment = tiny.experiment(**fields)
  params = experiment.state_shapes.params
  low, high = (
    throughput.evaluation_cost(experiment.generator, params, side, side == 8)
    for side in (4, 8)
  )
  assert training_macs(experiment) == 3 * (8 * low + 4 * high)
  assert low != high


def test_memory_counts_a_donated_array_once():
  size = 2**20
  row = {}
  for donated in ((), (0,)):
    function = Compiling("a sum", lambda x: x + 1, donate_argnums=donated)
    _, row[donated] = compile_program(function, (jnp.zeros(size),))
  assert row[()]["peak_memory_bytes"] >= 2 * 4 * size
  assert row[(0,)]["peak_memory_bytes"] == pytest.approx(4 * size, rel=0.01)
  assert not row[()]["cudnn_attention"]
