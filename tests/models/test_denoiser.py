"""The laws of the unified denoiser and of its U-Net."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from lowdiff_jax.diffusion import precondition, pyramid
from lowdiff_jax.models import unified
from lowdiff_jax.models.weights import state_dict
from lowdiff_jax.types import Condition
from tests.models.networks import KINDS, init, inputs, make, randomised


class Probe(nn.Module):
  """A backbone that reports what it is given."""

  report: Callable
  condition_channels: int = 2
  embedding_dim: int = 8

  @nn.compact
  def __call__(
    self, x, c_noise, label=None, stage=None, *, augment=None, position=None
  ):
    self.report((x, c_noise, label, stage))
    return 0.1 * x[..., :2]


def probed(side, low_res_sigma, residual=()):
  """What a backbone sees, what comes out, and the parameters."""
  seen = []
  denoiser = unified.UnifiedDenoiser(
    Probe(seen.append),
    (4, 8),
    lambda sigma, resolution: precondition.edm(
      sigma, sigma_data={4: 0.5, 8: 0.6}[resolution]
    ),
    residual,
  )
  rng = np.random.default_rng(0)

  def normal(*shape):
    return jnp.asarray(rng.normal(size=shape), jnp.float32)

  params = {
    "resolution_embedding": normal(2, 8),
    "low_res_sigma": {"kernel": normal(8, 8), "bias": normal(8)},
  }
  noisy, sigma = normal(3, side, side, 2), jnp.array([0.2, 1.0, 5.0])
  low_res = None if side == 4 else normal(3, side // 2, side // 2, 2)
  level = None if side == 4 else jnp.full(3, low_res_sigma)
  cond = Condition(jnp.arange(3), low_res, level)
  result = denoiser.apply({"params": params}, noisy, sigma, cond)
  return seen[-1], result, (params, noisy, sigma, cond)


@pytest.mark.parametrize("level", [0.05, 0.4])
def test_the_backbone_sees_the_condition_scaled_for_its_resolution(level):
  """c_in of the image and, beside it, c_in of the condition's own level."""
  (x, c_noise, label, _), _, (_, noisy, sigma, cond) = probed(8, level)
  c_in = (sigma**2 + 0.6**2) ** -0.5
  np.testing.assert_allclose(
    x[..., :2], c_in[:, None, None, None] * noisy, rtol=1e-5
  )
  expected = pyramid.upsample(cond.low_res) / np.hypot(level, 0.5)
  np.testing.assert_allclose(x[..., 2:], expected, rtol=1e-5)
  np.testing.assert_allclose(c_noise, np.log(sigma) / 4, rtol=1e-5)
  np.testing.assert_array_equal(label, np.arange(3))


@pytest.mark.parametrize(
  ("told", "used"), [(0.05, 0.05), (0.4, 0.4), (0.002, 0.002), (0.0, 1e-3)]
)
def test_the_embedding_is_of_the_stage_and_of_the_condition_s_level(told, used):
  """Levels below 0.001, where the logarithm has no limit, count as that."""
  (_, _, _, embedding), _, (params, *_) = probed(8, told)
  level = jnp.full(3, np.log(used) / 4, jnp.float32)
  frequencies = 10000.0 ** (-np.arange(4) / 3)
  angles = np.asarray(level)[:, None] * frequencies
  features = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
  dense = params["low_res_sigma"]
  expected = params["resolution_embedding"][1]
  expected = expected + features @ dense["kernel"] + dense["bias"]
  np.testing.assert_allclose(embedding, expected, rtol=1e-4, atol=1e-4)


def test_the_first_stage_sees_no_condition():
  (x, _, _, embedding), _, (params, *_) = probed(4, 0.0)
  np.testing.assert_array_equal(x[..., 2:], 0)
  expected = jnp.broadcast_to(params["resolution_embedding"][0], (3, 8))
  np.testing.assert_array_equal(embedding, expected)


@pytest.mark.parametrize("residual", [(), (8,)])
def test_the_estimate_is_put_together_as_published(residual):
  _, result, (_, noisy, sigma, cond) = probed(8, 0.1, residual)
  origin = pyramid.upsample(cond.low_res) if residual else 0.0
  pre = precondition.edm(sigma[:, None, None, None], sigma_data=0.6)
  rest = noisy - origin
  expected = origin + pre.c_skip * rest + pre.c_out * 0.1 * pre.c_in * rest
  np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def test_a_backbone_of_other_condition_channels_is_refused():
  denoiser = unified.UnifiedDenoiser(
    Probe(print, condition_channels=3),
    (4, 8),
    lambda sigma, _: precondition.flow(sigma),
  )
  with pytest.raises(ValueError, match=r"condition_channels=3, and .* 2 chan"):
    unified.init_params(denoiser, jax.random.key(0), 2)


def test_dropout_differs_between_resolutions():
  """The same key, other masks: stages must not share what they forget."""
  drawn = {}

  class Draw(nn.Module):
    def __call__(self, noisy, sigma, cond):
      key = self.make_rng("dropout")
      drawn[noisy.shape[1]] = float(jax.random.uniform(key))
      return noisy

  denoise = unified.bind(Draw(), {}, jax.random.key(0))
  for side in (4, 8):
    denoise(jnp.zeros((1, side, side, 1)), jnp.ones(1), Condition())
  assert drawn[4] != drawn[8]


@pytest.mark.parametrize("kind", KINDS)
def test_pretrained_baseline_is_the_unified_denoiser_at_the_top(kind):
  """Whatever the condition, for all that is added starts at zero."""
  baseline = randomised(init((8,), kind))
  loaded = state_dict.overlay(
    jax.device_get(init((4, 8), kind)), jax.device_get(baseline)
  )
  expected = unified.bind(make((8,), kind), baseline)(*inputs(8))
  result = unified.bind(make((4, 8), kind), loaded)(*inputs(8))
  assert jnp.abs(expected).max() > 0.1
  np.testing.assert_allclose(result, expected, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_one_tree_serves_all_resolutions(kind):
  denoise = unified.bind(make((4, 8), kind), init((4, 8), kind))
  assert denoise(*inputs(4, low_res=False)).shape == (3, 4, 4, 2)
  assert denoise(*inputs(8)).shape == (3, 8, 8, 2)


@pytest.mark.parametrize("kind", ["matching", "dit"])
def test_a_residual_is_denoised_around_the_condition(kind):
  """Nothing but the origin moves; without a condition nothing does."""
  params = randomised(init((4, 8), kind))
  image = unified.bind(make((4, 8), kind), params)
  residual = unified.bind(make((4, 8), kind, residual=(8,)), params)
  noisy, sigma, cond = inputs(8)
  origin = pyramid.upsample(cond.low_res)
  np.testing.assert_allclose(
    residual(noisy + origin, sigma, cond),
    origin + image(noisy, sigma, cond),
    atol=1e-4,
  )
  np.testing.assert_array_equal(
    residual(*inputs(4, low_res=False)), image(*inputs(4, low_res=False))
  )


@pytest.mark.parametrize("kind", ["matching", "dit"])
def test_separate_networks_share_nothing(kind):
  params = init((4, 8), kind, shared=False)

  def total(params, side):
    denoise = unified.bind(make((4, 8), kind, shared=False), params)
    return jnp.square(denoise(*inputs(side, low_res=side == 8))).sum()

  touched = []
  for side in (4, 8):
    grads = jax.jit(jax.grad(total), static_argnums=1)(randomised(params), side)
    del grads["resolution_embedding"]
    touched.append({n for n, g in grads.items() if pytree_max(g) > 0})
  assert touched[0] == {"backbone_4x4"}
  assert touched[1] == {"backbone_8x8", "low_res_sigma_8x8"}


def pytree_max(tree):
  return max(float(jnp.abs(x).max()) for x in jax.tree.leaves(tree))


@pytest.mark.parametrize(
  ("entry", "reaches"), [("matching", False), ("top", True)]
)
def test_entry_decides_which_levels_a_small_image_runs_through(entry, reaches):
  params = randomised(init((4, 8), entry))

  def total(params):
    denoise = unified.bind(make((4, 8), entry), params)
    return jnp.square(denoise(*inputs(4, low_res=False))).sum()

  grads = jax.jit(jax.grad(total))(params)["backbone"]
  outer = jnp.abs(grads["enc_8x8_block0"]["conv0"]["kernel"]).max()
  inner = jnp.abs(grads["enc_4x4_block0"]["conv0"]["kernel"]).max()
  assert (outer > 0) == reaches and inner > 0


@pytest.mark.parametrize("kind", ["matching", "dit"])
def test_all_that_it_is_told_matters(kind):
  params = randomised(init((4, 8), kind))
  denoise = unified.bind(make((4, 8), kind), params)
  noisy, sigma, cond = inputs(8)
  before = denoise(noisy, sigma, cond)
  for changed in (
    cond._replace(low_res=cond.low_res + 0.5),
    cond._replace(low_res_sigma=cond.low_res_sigma + 0.5),
    cond._replace(label=jnp.array([1, 1, 1])),
  ):
    assert (jnp.abs(denoise(noisy, sigma, changed) - before) > 1e-4).any()
  swapped = {
    **params,
    "resolution_embedding": params["resolution_embedding"][::-1],
  }
  after = unified.bind(make((4, 8), kind), swapped)(noisy, sigma, cond)
  assert (jnp.abs(after - before) > 1e-4).any()


def test_an_untrained_network_returns_c_skip_times_noisy():
  noisy, sigma, cond = inputs(8)
  clean = unified.bind(make((4, 8)), init((4, 8)))(noisy, sigma, cond)
  skip = 0.36 / (sigma**2 + 0.36)
  expected = skip[:, None, None, None] * noisy
  np.testing.assert_allclose(clean, expected, atol=1e-3)


def test_condition_without_noise_is_finite():
  noisy, sigma, cond = inputs(8)
  cond = cond._replace(low_res_sigma=jnp.zeros(3))
  denoise = unified.bind(make((4, 8)), randomised(init((4, 8))))
  assert jnp.isfinite(denoise(noisy, sigma, cond)).all()


def test_dropout_is_on_in_training_only():
  params = randomised(init((4, 8)))
  denoiser = make((4, 8), dropout=0.5)
  noisy, sigma, cond = inputs(8)
  trained = cond._replace(position=jnp.arange(len(noisy)))
  first, second = (
    unified.bind(denoiser, params, jax.random.key(i))(noisy, sigma, trained)
    for i in (1, 2)
  )
  assert jnp.abs(first - second).max() > 1e-3
  plain = unified.bind(denoiser, params)
  np.testing.assert_array_equal(plain(*inputs(8)), plain(*inputs(8)))
