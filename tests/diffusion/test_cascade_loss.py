"""The joint loss and its parts against a loss written by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from lowdiff_jax.diffusion import loss, noise, precondition, pyramid
from lowdiff_jax.types import Condition

SIDES, IMAGES, SCALES = (4, 8), (6, 4), (0.5, 2.0)
SIGMA_DATA = (0.4, 0.6)


def network(noisy, sigma, cond):
  """Some denoiser that uses all that it is given."""
  clean = noisy / (1 + sigma[:, None, None, None])
  if cond.low_res is not None:
    clean = 0.5 * clean + 0.5 * pyramid.upsample(cond.low_res)
    clean = clean + cond.low_res_sigma[:, None, None, None]
  return clean


def stages(cosine_weight=0.0):
  return [
    loss.StageLoss(
      side,
      images,
      p_mean=-1.0 + k,
      p_std=0.7,
      weight=lambda s, data=data: loss.edm_weight(s, sigma_data=data),
      scale=scale,
      low_res_sigma=(0.1, 0.3),
      cosine_weight=cosine_weight,
    )
    for k, (side, images, data, scale) in enumerate(
      zip(SIDES, IMAGES, SIGMA_DATA, SCALES, strict=True)
    )
  ]


def cascade_loss(denoise, key, image, stages):
  examples = loss.draw_examples(key, image, None, stages=stages)
  return loss.cascade_loss(denoise, examples, stages=stages)


class Recorder:
  """A denoiser that keeps what it was given, by resolution."""

  def __init__(self):
    self.calls = {}

  def __call__(self, noisy, sigma, cond):
    self.calls.setdefault(noisy.shape[1], []).append((noisy, sigma, cond))
    return network(noisy, sigma, cond)


@pytest.mark.parametrize("cosine_weight", [0.0, 0.3])
def test_the_loss_is_the_weighted_error_of_each_stage(cosine_weight):
  rng = np.random.default_rng(0)
  image = jnp.asarray(rng.normal(size=(6, 8, 8, 3)), jnp.float32)
  spy = Recorder()
  total, metrics = cascade_loss(
    spy, jax.random.key(1), image, stages(cosine_weight)
  )
  # Four of six: two of every three.
  cleans = (pyramid.downsample(image), image[np.array([0, 1, 3, 4])])
  expected = 0.0
  for side, clean, data, scale in zip(
    SIDES, cleans, SIGMA_DATA, SCALES, strict=True
  ):
    ((noisy, sigma, cond),) = spy.calls[side]
    level = np.asarray(sigma)[:, None, None, None]
    eps = (np.asarray(noisy) - clean) / level
    assert abs(eps.std() - 1) < 0.15 and abs(eps.mean()) < 0.15
    estimate = network(noisy, sigma, cond)
    # The published weight, and 1 / c_out^2.
    c_out = precondition.edm(sigma, sigma_data=data).c_out
    error = np.square(estimate - clean).mean((1, 2, 3)) / c_out**2
    name = f"{side}x{side}"
    np.testing.assert_allclose(metrics[f"loss/{name}"], error.mean(), rtol=1e-3)
    ours, theirs = estimate - (noisy - estimate) / level, clean - eps
    squares = ((np.square(x).sum(-1) + 1e-4) for x in (ours, theirs))
    cosine = (ours * theirs).sum(-1) / np.sqrt(np.prod(list(squares), axis=0))
    expected += scale * (error.mean() + cosine_weight * (1 - cosine.mean()))
    assert (f"cosine/{name}" in metrics) == (cosine_weight > 0)
    if cosine_weight:
      np.testing.assert_allclose(
        metrics[f"cosine/{name}"], 1 - cosine.mean(), rtol=1e-3
      )
  np.testing.assert_allclose(total, expected, rtol=1e-3)
  np.testing.assert_allclose(metrics["loss"], total)


def test_every_stage_draws_its_own_noise_levels_and_conditions():
  spy = Recorder()
  image = jnp.zeros((4000, 8, 8, 1))
  many = [stage._replace(images=4000) for stage in stages()]
  cascade_loss(spy, jax.random.key(0), image, many)
  logs = []
  for k, side in enumerate(SIDES):
    ((noisy, sigma, cond),) = spy.calls[side]
    logs.append(np.log(np.asarray(sigma)))
    fit = stats.kstest(logs[-1], stats.norm(-1.0 + k, 0.7).cdf)
    assert fit.pvalue > 0.01
    eps = np.asarray(noisy) / np.asarray(sigma)[:, None, None, None]
    assert stats.kstest(eps[:, 0, 0, 0], stats.norm.cdf).pvalue > 0.01
    # Keys of their own: not the same random numbers in another shape.
    assert abs(np.corrcoef(logs[-1], eps.ravel()[:4000])[0, 1]) < 0.06
  assert abs(np.corrcoef(logs)[0, 1]) < 0.05
  level = np.asarray(cond.low_res_sigma)
  assert stats.kstest(level, stats.uniform(0.1, 0.2).cdf).pvalue > 0.01
  drawn = np.asarray(cond.low_res)[:, 0, 0, 0] / level
  assert abs(np.corrcoef(drawn, eps[:, 0, 0, 0])[0, 1]) < 0.05
  assert abs(np.corrcoef(drawn, logs[1])[0, 1]) < 0.05


def test_the_condition_is_the_same_image_one_resolution_lower():
  spy = Recorder()
  rng = np.random.default_rng(0)
  image = jnp.asarray(rng.normal(size=(6, 8, 8, 1)), jnp.float32)
  exact = [stage._replace(low_res_sigma=(0.0, 0.0)) for stage in stages()]
  cascade_loss(spy, jax.random.key(0), image, exact)
  ((_, _, cond),) = spy.calls[8]
  np.testing.assert_allclose(
    cond.low_res,
    pyramid.downsample(image)[np.array([0, 1, 3, 4])],
    atol=1e-6,
  )


def test_validation_is_the_loss_at_the_quantiles():
  rng = np.random.default_rng(0)
  image = jnp.asarray(rng.normal(size=(64, 8, 8, 1)), jnp.float32)
  key = jax.random.key(0)
  metrics = loss.validation_loss(
    network, key, image, None, stages=stages(), levels=3
  )
  again = loss.validation_loss(
    network, key, image, None, stages=stages(), levels=3
  )
  assert metrics == again and len(metrics) == 6
  clean = pyramid.downsample(image)
  for sigma in noise.lognormal_quantiles(3, -1.0, 0.7):
    level = jnp.full(64, sigma, jnp.float32)
    eps = rng.normal(size=clean.shape)
    estimate = network(clean + sigma * eps, level, Condition())
    weight = loss.edm_weight(sigma, sigma_data=0.4)
    expected = weight * np.square(estimate - clean).mean()
    found = metrics[f"validation/4x4/sigma_{sigma:.3g}"]
    # Other noise, the same expectation.
    np.testing.assert_allclose(found, expected, rtol=0.15)


@pytest.mark.parametrize("sigma", [0.05, 0.5, 5.0])
def test_weights_are_the_published_ones(sigma):
  """EDM, table 1, and the velocity's error, to four digits."""
  edm = float(loss.edm_weight(jnp.asarray(sigma), sigma_data=0.5))
  expected = (sigma**2 + 0.25) / (0.5 * sigma) ** 2
  np.testing.assert_allclose(edm, expected, rtol=1e-5)
  flow = float(loss.flow_weight(jnp.asarray(sigma)))
  np.testing.assert_allclose(flow, ((1 + sigma) / sigma) ** 2, rtol=1e-5)


def test_quantiles_are_in_the_middle_of_equal_parts():
  levels = noise.lognormal_quantiles(4, 0.3, 0.5)
  parts = stats.norm(0.3, 0.5).cdf(np.log(levels))
  np.testing.assert_allclose(parts, [0.125, 0.375, 0.625, 0.875], atol=1e-6)


def test_karras_levels_are_even_in_the_root():
  sigmas = noise.karras_sigmas(7, 0.01, 3.0, rho=5.0)
  np.testing.assert_allclose(sigmas[[0, -2, -1]], [3.0, 0.01, 0.0])
  np.testing.assert_allclose(np.diff(sigmas[:-1] ** 0.2, 2), 0, atol=1e-12)


def test_preconditioning_is_the_published_one():
  sigma, data = jnp.asarray(0.7), 0.4
  edm = precondition.edm(sigma, sigma_data=data)
  total = 0.7**2 + data**2
  np.testing.assert_allclose(edm.c_skip, data**2 / total, rtol=1e-5)
  np.testing.assert_allclose(edm.c_out, 0.7 * data / total**0.5, rtol=1e-5)
  np.testing.assert_allclose(edm.c_in, total**-0.5, rtol=1e-5)
  np.testing.assert_allclose(edm.c_noise, np.log(0.7) / 4, rtol=1e-5)
  flow = precondition.flow(sigma)
  t = 1 / 1.7
  for ours, theirs in zip(flow, (t, 0.7 * t, t, t), strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
