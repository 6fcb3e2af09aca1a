"""Samplers against the exact flow of a Gaussian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lowdiff_jax.diffusion import cascade, noise, sampler
from lowdiff_jax.types import Condition
from tests import gaussian

KEYS = noise.image_keys(0, np.arange(2))
# Those that solve the flow.
SOLVERS = (sampler.euler, sampler.heun, sampler.dpmpp_2m)


def error(solver, num_steps):
  """Distance to the exact solution at a fixed level, where D is not exact.

  The last step returns D; the grid ends where D is as good as the solution.
  """
  start, end = 3.0, 0.3
  root = np.linspace(start ** (1 / 3), end ** (1 / 3), num_steps + 1)
  levels = root**3
  reached = {}

  def spy(x, sigma, cond):
    reached["x"] = x
    return gaussian.denoise(x, sigma, cond)

  x = gaussian.noisy(start)
  with jax.disable_jit():
    solver(spy, KEYS, x, np.append(levels, 0.0), Condition())
  scale = np.sqrt((gaussian.STD**2 + end**2) / (gaussian.STD**2 + start**2))
  exact = gaussian.MEAN + scale * (x - gaussian.MEAN)
  return float(jnp.abs(reached["x"] - exact).max())


@pytest.mark.parametrize(
  ("solver", "order"),
  list(zip(SOLVERS, (1, 2, 2), strict=True)),
)
def test_order_of_convergence(solver, order):
  steps = np.array([16, 32, 64])
  errors = [error(solver, n) for n in steps]
  slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
  assert abs(slope - order) < 0.3


@pytest.mark.parametrize("solver", SOLVERS)
def test_reaches_the_exact_solution(solver):
  sigmas = noise.karras_sigmas(200, 0.002, 10.0)
  x = gaussian.noisy(10.0)
  image, _ = solver(gaussian.denoise, KEYS, x, sigmas, Condition())
  np.testing.assert_allclose(image, gaussian.exact(x, 10.0), atol=0.02)


@pytest.mark.parametrize("solver", sampler.SAMPLERS.values())
def test_one_step_is_the_denoiser(solver):
  x = gaussian.noisy(5.0)
  image, _ = solver(gaussian.denoise, KEYS, x, np.array([5.0, 0]), Condition())
  expected = gaussian.denoise(x, jnp.full(2, 5.0), None)
  np.testing.assert_allclose(image, expected, atol=1e-6)


@pytest.mark.parametrize("solver", sampler.SAMPLERS.values())
def test_trajectory_ends_at_the_image(solver):
  sigmas = noise.karras_sigmas(5, 0.01, 5.0)
  x = gaussian.noisy(5.0)
  image, estimates = solver(
    gaussian.denoise, KEYS, x, sigmas, Condition(), trajectory=True
  )
  assert estimates.shape == (5, *x.shape)
  # Fused with what follows, it may round the other way.
  np.testing.assert_allclose(estimates[-1], image, atol=1e-6)


def test_churn_keeps_the_distribution():
  """Adding noise and removing it again leaves mean and std as they were."""
  count = 4096
  keys = noise.image_keys(0, np.arange(count))
  x = gaussian.noisy(10.0, (count, 2, 2, 1))
  sigmas = noise.karras_sigmas(64, 0.002, 10.0)
  image, _ = sampler.heun(
    gaussian.denoise, keys, x, sigmas, Condition(), churn=20.0
  )
  plain, _ = sampler.heun(gaussian.denoise, keys, x, sigmas, Condition())
  assert jnp.abs(image - plain).max() > 0.1
  assert abs(image.mean() - gaussian.MEAN) < 0.03
  assert abs(image.std() - gaussian.STD) < 0.03


def end_of_flow(noisy, sigma, cond):
  """What a perfect consistency model returns."""
  del cond
  return gaussian.exact(noisy, sigma[:, None, None, None])


@pytest.mark.parametrize("num_steps", [1, 2, 8])
def test_consistency_samples_the_data_in_any_number_of_steps(num_steps):
  count = 4096
  keys = noise.image_keys(0, np.arange(count))
  sigmas = noise.karras_sigmas(num_steps, 0.2, 10.0)
  args = (gaussian.noisy(10.0, (count, 2, 2, 1)), sigmas, Condition())
  image, _ = sampler.consistency(end_of_flow, keys, *args)
  assert abs(image.mean() - gaussian.MEAN) < 0.03
  assert abs(image.std() - gaussian.STD) < 0.03
  # The mean of the clean images is no image.
  smooth, _ = sampler.consistency(gaussian.denoise, keys, *args)
  assert smooth.std() < 0.9 * gaussian.STD


def test_consistency_of_one_image_is_that_image():
  image = jnp.asarray(np.random.default_rng(1).normal(size=(4, 4, 1)))
  result, estimates = sampler.consistency(
    lambda x, sigma, cond: jnp.broadcast_to(image, x.shape),
    KEYS,
    gaussian.noisy(5.0),
    noise.karras_sigmas(3, 0.1, 5.0),
    Condition(),
    trajectory=True,
  )
  np.testing.assert_array_equal(result, jnp.stack([image, image]))
  assert (estimates == image).all()


def test_noise_of_consistency_is_each_images_own_and_each_steps():
  """What the denoiser is given after the first step is sigma eps."""
  given = []

  def black(x, sigma, cond):
    given.append(x / sigma[:, None, None, None])
    return jnp.zeros_like(x)

  def run(keys):
    given.clear()
    x, sigmas = jnp.zeros((2, 32, 32, 1)), np.array([5.0, 2.0, 0.5, 0.0])
    with jax.disable_jit():
      sampler.consistency(black, keys, x, sigmas, Condition())
    return np.stack(given[1:])

  ours = run(KEYS)
  assert abs(ours.std() - 1) < 0.05
  correlation = np.corrcoef(ours.reshape(4, -1))
  assert np.abs(correlation - np.eye(4)).max() < 0.15
  np.testing.assert_array_equal(ours[:, ::-1], run(KEYS[::-1]))
  assert (ours != run(noise.image_keys(1, np.arange(2)))).all()


def test_consistency_evaluates_once_a_step():
  for steps in (1, 2, 5):
    sigmas = noise.karras_sigmas(steps, 0.1, 5.0)
    stage = cascade.Stage(8, sigmas, sampler.consistency)
    assert cascade.evaluations(stage) == steps


def test_karras_grid_is_the_published_one():
  sigmas = noise.karras_sigmas(18, 0.002, 80.0)
  assert sigmas[-1] == 0 and sigmas.shape == (19,)
  published = [80, 57.59, 40.79, 28.37, 19.35, 12.91, 8.40, 5.32, 3.26, 1.92]
  np.testing.assert_allclose(sigmas[:10], published, rtol=2e-3)
  assert (np.diff(sigmas) < 0).all()
