"""Laws of the noisy condition: its distribution, its level, its scale."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from lowdiff_jax.diffusion import conditioning

COUNT = 4000


def draw(low, high, seed=0):
  clean = jnp.full((COUNT, 2, 2, 1), 0.25)
  label = jnp.arange(COUNT)
  key = jax.random.key(seed)
  return conditioning.draw_condition(key, clean, label, (low, high))


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.2), (0.1, 0.7)])
def test_the_level_is_uniform_between_its_limits(low, high):
  sigma = np.asarray(draw(low, high).low_res_sigma)
  assert sigma.shape == (COUNT,)
  test = stats.kstest(sigma, stats.uniform(low, high - low).cdf)
  assert test.pvalue > 0.01


def test_a_level_without_range_is_that_level():
  np.testing.assert_allclose(draw(0.1, 0.1).low_res_sigma, 0.1, rtol=1e-6)


def test_the_noise_is_standard_normal_times_the_level_that_is_told():
  cond = draw(0.1, 0.7)
  level = np.asarray(cond.low_res_sigma)[:, None, None, None]
  eps = (np.asarray(cond.low_res) - 0.25) / level
  assert stats.kstest(eps.ravel(), stats.norm.cdf).pvalue > 0.01
  # Neither the pixels nor the level and the noise have anything in common.
  flat = eps.reshape(COUNT, -1)
  common = np.corrcoef(np.column_stack([flat, level.ravel()]).T)
  assert np.abs(common - np.eye(5)).max() < 0.06
  # Nor has the draw of the levels with that of the noise, number by number.
  assert abs(np.corrcoef(level.ravel(), eps.ravel()[:COUNT])[0, 1]) < 0.06


def test_keys_decide_and_the_label_passes():
  same, other = draw(0.0, 0.2), draw(0.0, 0.2, seed=1)
  np.testing.assert_array_equal(same.low_res, draw(0.0, 0.2).low_res)
  assert (same.low_res_sigma != other.low_res_sigma).mean() > 0.99
  np.testing.assert_array_equal(same.label, np.arange(COUNT))


def test_the_first_stage_has_no_condition():
  cond = conditioning.draw_condition(
    jax.random.key(0), None, jnp.arange(3), (0.1, 0.2)
  )
  assert cond.low_res is None and cond.low_res_sigma is None
  np.testing.assert_array_equal(cond.label, np.arange(3))
