"""The exact values of Adam's step, of the average and of what is counted."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lowdiff_jax.train import ema, optimizer, state
from lowdiff_jax.train.step import make_train_step
from tests import tiny


@pytest.mark.parametrize("norm", [0.5, 2.0])
def test_gradients_are_clipped_by_their_global_norm(norm):
  """With betas 0 a step is rate g / (|g| + eps), element by element."""
  adam = optimizer.adam(
    0.1, warmup_steps=0, betas=(0.0, 0.0), eps=1.0, clip_norm=1.0
  )
  gradient = norm * np.array([0.6, -0.8], np.float32)
  updates, _ = adam.update(gradient, adam.init(jnp.zeros(2)), jnp.zeros(2))
  clipped = gradient / max(1.0, norm)
  expected = -0.1 * clipped / (np.abs(clipped) + 1)
  np.testing.assert_allclose(updates, expected, rtol=1e-5)


def test_adam_is_the_published_one():
  betas, eps, rate = (0.9, 0.6), 0.5, 0.1
  adam = optimizer.adam(
    rate, warmup_steps=2, betas=betas, eps=eps, clip_norm=float("inf")
  )
  opt_state, first, second = adam.init(jnp.zeros(1)), 0.0, 0.0
  for step, gradient in enumerate([1.0, -3.0, 2.0, 0.5], 1):
    updates, opt_state = adam.update(
      jnp.array([gradient]), opt_state, jnp.zeros(1)
    )
    first = betas[0] * first + (1 - betas[0]) * gradient
    second = betas[1] * second + (1 - betas[1]) * gradient**2
    mean = first / (1 - betas[0] ** step)
    root = np.sqrt(second / (1 - betas[1] ** step))
    warm = rate * min(1.0, (step - 1) / 2)
    np.testing.assert_allclose(
      updates, [-warm * mean / (root + eps)], rtol=1e-5, atol=1e-8
    )


def test_the_average_is_of_the_new_parameters():
  """Three steps by hand, with a ramp that is in force."""

  def gradient_fn(params, key, batch):
    return jnp.array([3.0, 4.0]), {"key": jax.random.key_data(key)}

  sgd = optax.sgd(0.1, momentum=0.5)
  step = make_train_step(gradient_fn, sgd, ema_half_life=100.0, ema_ramp=0.5)
  current = state.create(jnp.ones(2), sgd)
  assert int(current.step) == 0 and int(current.images_seen) == 0
  np.testing.assert_array_equal(current.ema_params, current.params)
  key, params = jax.random.key(5), np.ones(2)
  velocity, average = np.zeros(2), np.ones(2)
  for number in range(3):
    current, metrics = step(current, key, tiny.batch(8))
    velocity = 0.5 * velocity + np.array([3.0, 4.0])
    params = params - 0.1 * velocity
    kept = 0.5 ** (8 / (0.5 * 8 * number)) if number else 0.0
    average = kept * average + (1 - kept) * params
    np.testing.assert_allclose(current.params, params, atol=1e-5)
    np.testing.assert_allclose(current.ema_params, average, atol=1e-5)
    np.testing.assert_allclose(metrics["grad_norm"], 5.0, rtol=1e-6)
    np.testing.assert_array_equal(
      metrics["key"], jax.random.key_data(jax.random.fold_in(key, number))
    )
    assert int(current.step) == number + 1
    assert int(current.images_seen) == 8 * (number + 1)


@pytest.mark.parametrize("bad", ["loss", "grad_norm"])
def test_a_step_that_is_not_finite_changes_its_counters_alone(bad):
  """And the same program skips none of the finite ones."""

  def gradient_fn(params, key, batch):
    scale = jnp.where(batch.label[0] == 3, jnp.nan, 1.0)
    loss = scale if bad == "loss" else jnp.ones(())
    gradient = jnp.ones(2) * (scale if bad == "grad_norm" else 1.0)
    return gradient, {"loss": loss}

  adam = optax.adam(0.1)
  both = [
    jax.jit(
      make_train_step(
        gradient_fn, adam, ema_half_life=9.0, ema_ramp=0.5, skips=skips
      )
    )
    for skips in (False, True)
  ]
  key, fresh = jax.random.key(0), state.create(jnp.ones(2), adam)
  fine, odd = (
    tiny.batch(8)._replace(label=np.full(8, label)) for label in (0, 3)
  )
  before, _ = both[1](fresh, key, fine)
  chex.assert_trees_all_equal(before, both[0](fresh, key, fine)[0])
  after, metrics = both[1](before, key, odd)
  assert not np.isfinite(metrics[bad])
  assert (int(after.step), int(after.images_seen)) == (2, 16)
  chex.assert_trees_all_equal(
    after._replace(step=before.step, images_seen=before.images_seen), before
  )
  spoiled, _ = both[0](before, key, odd)
  assert np.isfinite(spoiled.params).all() == (bad == "loss")


@pytest.mark.parametrize(
  ("seen", "half_life"), [(0, 0.0), (40, 2.0), (1000, 50.0), (9000, 100.0)]
)
def test_the_half_life_is_the_smaller_of_both(seen, half_life):
  kept = ema.decay(jnp.uint32(seen), 10, half_life=100.0, ramp=0.05)
  expected = 0.5 ** (10 / half_life) if half_life else 0.0
  np.testing.assert_allclose(kept, expected, rtol=1e-5)
