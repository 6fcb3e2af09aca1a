"""What a pyramid measures, and the noise settings that follow from it."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from lowdiff_jax.diffusion import settings
from lowdiff_jax.diffusion.settings import Scale
from lowdiff_jax.types import UserError


@pytest.mark.parametrize("draw", [jax.random.normal, jax.random.uniform])
def test_independent_pixels(draw):
  """A level halves their std; its residual is 3/4 of the variance above."""
  image = draw(jax.random.key(0), (64, 32, 32, 3))
  image = (image - image.mean()) / image.std()
  clean, residual = settings.mean_squares(image, 3)
  variances = clean.mean(0)
  np.testing.assert_allclose(variances, [1 / 16, 1 / 4, 1], rtol=0.03)
  np.testing.assert_allclose(residual.mean(0), 0.75 * variances[1:], rtol=0.03)


def test_constant_images_have_no_residual():
  image = jnp.full((2, 8, 8, 3), 0.3) * jnp.array([1, -2])[:, None, None, None]
  clean, residual = settings.mean_squares(image, 3)
  np.testing.assert_allclose(clean, [[0.09] * 3, [0.36] * 3], rtol=1e-5)
  np.testing.assert_allclose(residual, np.zeros((2, 2)), atol=1e-12)


def test_the_residual_of_a_ramp_is_half_a_step():
  ramp = jnp.broadcast_to(jnp.linspace(-1, 1, 32)[:, None], (32, 32))
  _, residual = settings.mean_squares(ramp[None, :, :, None], 2)
  np.testing.assert_allclose(residual.item(), (1 / 31) ** 2, rtol=1e-3)


def test_one_stage_is_edm():
  (one,) = settings.propose([Scale(32, 0.5, None)], ["noise"])
  assert one == (0.5, -1.2, 1.2, 80.0)


def test_half_the_resolution_is_half_the_noise():
  scales = [Scale(8, 0.46, None), Scale(16, 0.49, 0.2), Scale(32, 0.51, 0.1)]
  proposals = settings.propose(scales, ["noise"] * 3)
  for low, high in itertools.pairwise(proposals):
    assert high.sigma_max == 2 * low.sigma_max
    assert high.p_mean == low.p_mean
  assert [p.sigma_data for p in proposals] == [0.46, 0.49, 0.51]


def test_a_handoff_starts_from_its_residual():
  """What CIFAR-10 measures gives what its config says."""
  scales = [Scale(8, 0.4588, None), Scale(16, 0.489, 0.1692)]
  scales.append(Scale(32, 0.506, 0.13))
  proposals = settings.propose(scales, ["noise", "handoff", "handoff"])
  assert [p.sigma_max for p in proposals] == [20.0, 1.35, 1.04]
  assert [p.p_mean for p in proposals] == [-1.2, -1.2, -1.2]


@pytest.mark.parametrize("residual", [0.003, 0.01, 0.05, 0.2, 0.8])
def test_a_handed_off_stage_trains_on_the_levels_that_it_meets(residual):
  scales = [Scale(8, 0.5, None), Scale(16, 0.5, residual)]
  top = settings.propose(scales, ["noise", "handoff"])[1]
  below = norm.cdf((math.log(top.sigma_max) - top.p_mean) / top.p_std)
  detail = (math.log(residual) - top.p_mean) / top.p_std
  assert below > 0.76 and detail > -1.01


def test_a_resolution_that_adds_nothing_is_named():
  scales = [Scale(8, 0.5, None), Scale(16, 0.5, 0.002)]
  with pytest.raises(UserError, match=r"nothing at 16 pixels .* not at 8"):
    settings.propose(scales, ["noise", "noise"])
