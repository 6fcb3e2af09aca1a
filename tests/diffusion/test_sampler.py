"""Samplers against the exact flow of a Gaussian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lowdiff_jax.diffusion import noise, sampler
from lowdiff_jax.types import Condition
from tests import gaussian

KEYS = noise.image_keys(0, np.arange(2))
SOLVERS = (sampler.Euler(), sampler.Heun(), sampler.DPMpp2M())


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


@pytest.mark.parametrize("solver", SOLVERS)
def test_one_step_is_the_denoiser(solver):
  x = gaussian.noisy(5.0)
  image, _ = solver(gaussian.denoise, KEYS, x, np.array([5.0, 0]), Condition())
  expected = gaussian.denoise(x, jnp.full(2, 5.0), None)
  np.testing.assert_allclose(image, expected, atol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
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
  args = (gaussian.denoise, keys, x, sigmas, Condition())
  image, _ = sampler.Heun(churn=20.0)(*args)
  plain, _ = sampler.Heun()(*args)
  assert jnp.abs(image - plain).max() > 0.1
  assert abs(image.mean() - gaussian.MEAN) < 0.03
  assert abs(image.std() - gaussian.STD) < 0.03


def evaluated_levels(solver, sigmas):
  """The noise levels at which a sampler really evaluates the denoiser."""
  seen = []

  def spy(x, sigma, cond):
    jax.debug.callback(lambda level: seen.append(float(level)), sigma[0])
    return gaussian.denoise(x, sigma, cond)

  solver(spy, KEYS, gaussian.noisy(5.0), sigmas, Condition())
  jax.effects_barrier()
  return sorted(seen)


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize(
  "solver", [*SOLVERS, sampler.Heun(20.0), sampler.Heun(5.0, 0.1, 1.0)]
)
def test_levels_are_where_the_denoiser_is_evaluated(solver, steps):
  sigmas = noise.karras_sigmas(steps, 0.01, 5.0)
  np.testing.assert_allclose(
    sorted(solver.levels(sigmas)), evaluated_levels(solver, sigmas), rtol=1e-6
  )


@pytest.mark.parametrize("solver", [*SOLVERS, sampler.Heun(20.0, 0.1, 1.0)])
def test_one_program_serves_any_number_of_steps(solver):
  x, seen = gaussian.noisy(5.0), []

  def spy(x, sigma, cond):
    jax.debug.callback(lambda level: seen.append(float(level)), sigma[0])
    return gaussian.denoise(x, sigma, cond)

  @jax.jit
  def program(sigmas, num_steps):
    args = (spy, KEYS, x, sigmas, Condition())
    return solver(*args, num_steps=num_steps)[0]

  for steps in (1, 2, 5, 127):
    sigmas = noise.karras_sigmas(steps, 0.01, 5.0)
    found = program(solver.padded(sigmas), steps)
    jax.effects_barrier()
    expected = sorted(solver.levels(sigmas))
    np.testing.assert_allclose(sorted(seen), expected, rtol=1e-5)
    seen.clear()
    image, _ = solver(gaussian.denoise, KEYS, x, sigmas, Condition())
    np.testing.assert_allclose(found, image, atol=1e-5)
  assert program._cache_size() == 1
  assert len(solver.padded(np.ones(129))) == 256


def test_samplers_with_equal_settings_are_one():
  assert sampler.Heun(churn=40.0) == sampler.Heun(40.0)
  assert len({sampler.Heun(), sampler.Heun(0.0), sampler.Heun(1.0)}) == 2
  assert sampler.Heun() != sampler.Euler()
  assert sampler.Heun().settings() == {}
  assert sampler.Heun(40.0).settings() == {
    "churn": 40.0,
    "churn_min": 0.0,
    "churn_max": np.inf,
    "churn_noise": 1.0,
  }
  for name, make in sampler.SAMPLERS.items():
    assert make().name == name


def test_karras_grid_is_the_published_one():
  sigmas = noise.karras_sigmas(18, 0.002, 80.0)
  assert sigmas[-1] == 0 and sigmas.shape == (19,)
  published = [80, 57.59, 40.79, 28.37, 19.35, 12.91, 8.40, 5.32, 3.26, 1.92]
  np.testing.assert_allclose(sigmas[:10], published, rtol=2e-3)
  assert (np.diff(sigmas) < 0).all()


@pytest.mark.parametrize("churn", [1.0, 100.0])
def test_churn_raises_the_levels_as_published(churn):
  """By min(S_churn / N, sqrt(2) - 1) between S_tmin and S_tmax alone."""
  sigmas = noise.karras_sigmas(5, 0.01, 5.0)
  first = sampler.Heun(churn, 0.1, 2.0).levels(sigmas)[:5]
  gamma = min(churn / 5, np.sqrt(2) - 1)
  inside = (sigmas[:-1] >= 0.1) & (sigmas[:-1] <= 2.0)
  assert 0 < inside.sum() < 5
  expected = sigmas[:-1] * (1 + gamma * inside)
  np.testing.assert_allclose(first, expected, rtol=1e-6)


def test_the_last_step_is_churned_too():
  """By noise of the variance that raises its level, times S_noise."""
  seen = {}

  def spy(x, sigma, cond):
    # The scan of the other steps, of which there are none, is but traced.
    if not isinstance(x, jax.core.Tracer):
      seen.update(x=x, sigma=float(sigma[0]))
    return x

  keys = noise.image_keys(0, np.arange(500))
  start = jnp.ones((500, 2, 2, 1))
  args = (spy, keys, start, np.array([5.0, 0.0]), Condition())
  sampler.Heun(churn=0.2, churn_noise=1.5)(*args, trajectory=False)
  assert abs(seen["sigma"] - 6.0) < 1e-5
  added = np.asarray(seen["x"] - start)
  assert abs(added.std() - 1.5 * np.sqrt(36 - 25)) < 0.15
