"""No two draws share their numbers, and churn adds what it should."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lowdiff_jax.diffusion import (
  cascade,
  conditioning,
  loss,
  noise,
  pyramid,
  sampler,
)
from lowdiff_jax.types import NO_LABEL, Condition
from tests import gaussian

COUNT = 4000


def assert_unrelated(**draws):
  """Draws from one key agree in their first numbers, whatever their shapes."""
  columns = {
    name: np.asarray(x, float).ravel()[:COUNT] for name, x in draws.items()
  }
  for (a, x), (b, y) in itertools.combinations(columns.items(), 2):
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.08, (a, b)


def test_the_condition_s_level_and_noise_are_independent():
  clean = jnp.zeros((COUNT, 2, 2, 1))
  cond = conditioning.draw_condition(jax.random.key(0), clean, None, (0.1, 0.7))
  eps = cond.low_res / cond.low_res_sigma[:, None, None, None]
  assert_unrelated(level=cond.low_res_sigma, eps=eps)


def drawn(cond, noisy, sigma):
  level = sigma[:, None, None, None]
  low = cond.low_res_sigma[:, None, None, None]
  return {"eps": noisy / level, "low_eps": cond.low_res / low, "low": low}


def stage(side):
  return loss.StageLoss(
    side, COUNT, -1.0, 0.7, lambda s: 1 / s**2, 1.0, (0.1, 0.7)
  )


def test_all_draws_of_the_loss_are_independent():
  _, (_, eps, sigma, cond) = loss.draw_examples(
    jax.random.key(0),
    jnp.zeros((COUNT, 4, 4, 1)),
    jnp.zeros(COUNT, jnp.int32),
    stages=[stage(2), stage(4)],
    label_dropout=0.5,
  )
  noisy = sigma[:, None, None, None] * eps
  drop = cond.label == NO_LABEL
  assert_unrelated(**drawn(cond, noisy, sigma), drop=drop, level=jnp.log(sigma))


def test_validation_sees_what_training_sees_without_dropout():
  calls = []

  def spy(noisy, sigma, cond):
    calls.append((cond, noisy, sigma))
    return jnp.zeros_like(noisy) + 0.5

  image, label = jnp.zeros((COUNT, 4, 4, 1)), jnp.arange(COUNT)
  with jax.disable_jit():
    metrics = loss.validation_loss(
      spy,
      jax.random.key(0),
      image,
      label,
      stages=[stage(2), stage(4)],
      levels=1,
    )
  cond, noisy, sigma = calls[-1]
  assert cond.low_res.shape == (COUNT, 2, 2, 1)
  assert_unrelated(**drawn(cond, noisy, sigma))
  np.testing.assert_array_equal(cond.label, label)
  level = np.exp(-1.0)
  np.testing.assert_allclose(sigma, level, rtol=1e-5)
  np.testing.assert_allclose(
    metrics[f"validation/4x4/sigma_{level:.3g}"], 0.25 / level**2, rtol=1e-5
  )


def test_all_draws_of_a_stage_are_independent():
  seen = {}

  def spy(denoise, keys, noisy, sigmas, cond, *, trajectory):
    shape = noisy.shape[1:]
    seen.update(
      steps=noise.normal_per_image(keys, shape),
      start=noisy[:, 0, 0],
      low=cond.low_res[:, 0, 0],
    )
    seen["steps"] = seen["steps"][:, 0, 0]
    seen["label"] = cond.label
    return noisy, None

  one = cascade.Stage(4, np.array([2.0, 0.5, 0.0]), spy, low_res_sigma=0.3)
  keys, label = noise.image_keys(0, np.arange(COUNT)), jnp.arange(COUNT)
  cascade.cascade(
    None,
    keys,
    [one],
    channels=1,
    label=label,
    low_res=jnp.zeros((COUNT, 2, 2, 1)),
  )
  np.testing.assert_array_equal(seen.pop("label"), label)
  assert_unrelated(**seen)
  assert abs(seen["start"].std() - 2.0) < 0.1


def test_all_that_decides_the_images_identifies_a_stage():
  one = cascade.Stage(4, np.array([2.0, 0.0]), sampler.Euler())
  others = [
    one._replace(low_res_sigma=0.1),
    one._replace(sigmas=np.array([3.0, 0.0])),
    one._replace(start="handoff"),
    one._replace(sampler=sampler.Heun()),
  ]
  assert len({s.identity() for s in (one, *others)}) == 5
  assert one.program() == others[0].program() == others[1].program()


@pytest.mark.parametrize(
  ("churn", "limits", "gamma"),
  [
    (0.4, (0.0, np.inf), 0.2),
    (40.0, (0.0, np.inf), np.sqrt(2) - 1),
    (0.4, (0.0, 2.0), 0.2),
    (0.4, (2.0, 9.0), 0.2),
    (0.4, (2.5, 9.0), 0.0),
    (0.4, (0.0, 1.5), 0.0),
  ],
)
def test_churn_raises_the_level_and_adds_just_that_noise(churn, limits, gamma):
  """x + S_noise sqrt(hat^2 - sigma^2) eps, before the first evaluation."""
  seen = []

  def spy(x, sigma, cond):
    seen.append((x, float(sigma[0])))
    return jnp.zeros_like(x)

  keys = noise.image_keys(0, np.arange(1000))
  solver = sampler.Heun(churn, *limits, churn_noise=1.5)
  x = jnp.zeros((1000, 2, 2, 1))
  with jax.disable_jit():
    solver(spy, keys, x, np.array([2.0, 0.1, 0.0]), Condition())
  stirred, level = seen[0]
  np.testing.assert_allclose(level, 2.0 * (1 + gamma), rtol=1e-5)
  added = 1.5 * np.sqrt(level**2 - 2.0**2)
  np.testing.assert_allclose(stirred.std(), added, rtol=0.05, atol=1e-6)


def test_steps_add_different_noise():
  levels = np.array([2.0, 1.9, 1.8, 0.0])
  keys = noise.image_keys(0, np.arange(COUNT))
  seen = []

  def spy(x, sigma, cond):
    seen.append(x)
    return x

  with jax.disable_jit():
    sampler.Heun(0.3)(
      spy, keys, jnp.zeros((COUNT, 1, 1, 1)), levels, Condition()
    )
  # D(x) = x leaves x alone: what differs between steps is what was added.
  added = {
    "first": seen[0],
    "second": seen[2] - seen[1],
    "last": seen[4] - seen[3],
  }
  assert_unrelated(**added)
  assert all(x.std() > 0.1 for x in added.values())


def test_the_second_order_of_2m_is_written_by_hand():
  levels = np.array([4.0, 2.0, 0.7, 0.2, 0.0])
  x = gaussian.noisy(4.0)
  image, _ = sampler.DPMpp2M()(
    gaussian.denoise, noise.image_keys(0, np.arange(2)), x, levels, Condition()
  )
  before = None
  for i, (level, below) in enumerate(itertools.pairwise(levels)):
    clean = gaussian.denoise(x, jnp.full(2, level), None)
    target = clean
    if 0 < i < 3:
      h = np.log(level / below)
      h_before = np.log(levels[i - 1] / level)
      w = h / (2 * h_before)
      target = (1 + w) * clean - w * before
    x = below / level * x + (1 - below / level) * target
    before = clean
  np.testing.assert_allclose(image, x, rtol=1e-4, atol=1e-5)


def test_a_pyramid_of_given_images_keeps_the_highest():
  given = tuple(jnp.zeros((1, side, side, 1)) for side in (2, 4, 8))
  assert [x.shape[1] for x in pyramid.pyramid(given, 2)] == [4, 8]
