"""Laws of the loss that tunes a stage for few evaluations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lowdiff_jax.diffusion import loss, noise, precondition
from lowdiff_jax.experiment.training import loss_stages
from lowdiff_jax.types import Condition
from tests import gaussian, tiny

KEY = jax.random.key(0)
WEIGHTS = {
  "edm": lambda sigma: loss.edm_weight(sigma, sigma_data=0.5),
  "flow": loss.flow_weight,
}


def preconditioned(scale, kind="edm"):
  """A denoiser of one parameter, exact where there is no noise."""

  def denoise(noisy, sigma, cond):
    sigma = sigma[:, None, None, None]
    pre = precondition.flow(sigma)
    if kind == "edm":
      pre = precondition.edm(sigma, sigma_data=0.5)
    return pre.c_skip * noisy + pre.c_out * jnp.tanh(scale * pre.c_in * noisy)

  return denoise


def losses(denoise, clean, consistency, kind="edm"):
  sigma = noise.lognormal_sigmas(KEY, len(clean), -1.2, 1.2)
  return loss.denoising_loss(
    denoise,
    KEY,
    clean,
    Condition(),
    sigma=sigma,
    weight=WEIGHTS[kind],
    consistency=consistency,
  )


def normal(*shape):
  return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("kind", WEIGHTS)
def test_without_noise_on_the_target_it_is_denoising(kind):
  """D(x; 0) = x, so r -> 0 is the clean image; r = 1/2 is another target."""
  clean = 0.5 * normal(64, 4, 4, 3)
  plain, tiny_r, half = (
    losses(preconditioned(0.7, kind), clean, r, kind) for r in (0.0, 1e-4, 0.5)
  )
  for ours, expected in zip(tiny_r, plain, strict=True):
    np.testing.assert_allclose(ours, expected, rtol=2e-3, atol=1e-4)
  assert (jnp.abs(half[0] / plain[0] - 1) > 0.01).all()


def test_no_gradient_flows_through_the_target():
  clean, r = 0.5 * normal(8, 4, 4, 1), 0.5
  sigma = noise.lognormal_sigmas(KEY, 8, -1.2, 1.2)
  eps = jax.random.normal(KEY, clean.shape)

  def at(scale, level):
    noisy = clean + level[:, None, None, None] * eps
    return preconditioned(scale)(noisy, level, Condition())

  def by_hand(scale, teacher):
    error = jnp.square(at(scale, sigma) - at(teacher, r * sigma))
    return (WEIGHTS["edm"](sigma) * error.mean((1, 2, 3))).mean()

  def ours(scale):
    return losses(preconditioned(scale), clean, r)[0].mean()

  value, slope = jax.value_and_grad(ours)(0.7)
  np.testing.assert_allclose(value, by_hand(0.7, 0.7), rtol=1e-5)
  stopped = jax.grad(by_hand)(0.7, 0.7)
  np.testing.assert_allclose(slope, stopped, rtol=1e-4)
  through = jax.grad(lambda scale: by_hand(scale, scale))(0.7)
  assert abs(through / stopped - 1) > 0.1


@pytest.mark.parametrize("r", [0.3, 0.9])
def test_of_one_image_the_perfect_denoiser_has_no_loss(r):
  image = normal(4, 4, 1)
  error, _ = losses(
    lambda x, sigma, cond: jnp.broadcast_to(image, x.shape),
    jnp.stack([image] * 8),
    r,
  )
  np.testing.assert_array_equal(error, 0)


@pytest.mark.parametrize("r", [0.25, 0.5, 0.9])
def test_what_is_learned_of_gaussian_data(r):
  """The fixed point is linear, k(sigma) noisy, and known in closed form.

  Of data of std s, E[target | noisy] = k(r sigma) (s^2 + r sigma^2) /
  (s^2 + sigma^2) noisy. So k is a product over sigma, r sigma, r^2 sigma ...,
  the gradient vanishes there, and one step samples r^(1/4) of the std.
  """
  count, level, s = 40_000, 20.0, gaussian.STD

  def factor(sigma):
    near = sigma * r ** jnp.arange(500)
    return jnp.prod((s**2 + r * near**2) / (s**2 + near**2))

  def slope_at(scale):
    def ours(scale):
      def denoise(noisy, sigma, cond):
        return scale * factor(sigma[0]) * noisy

      error, _ = loss.denoising_loss(
        denoise,
        KEY,
        s * normal(count, 2, 2, 1),
        Condition(),
        sigma=jnp.full(count, level),
        weight=lambda sigma: 1.0,
        consistency=r,
      )
      return error.mean()

    return jax.grad(ours)(scale) / s**2

  assert abs(slope_at(1.0)) < 0.01
  sampled = factor(level) * np.sqrt(level**2 + s**2) / s
  np.testing.assert_allclose(sampled, r**0.25, rtol=0.01)


def test_a_config_tunes_the_stage_that_it_names():
  """The other stage's loss stays; the validation loss is denoising's."""
  denoise, image = preconditioned(0.7), 0.5 * normal(8, 8, 8, 1)
  training, validation = [], []
  for r in (0.0, 0.5):
    stages = loss_stages(tiny.config(**{"stages.consistency": (0.0, r)}))
    args = (denoise, KEY, image, None)
    training.append(loss.cascade_loss(*args, stages=stages)[1])
    validation.append(loss.validation_loss(*args, stages=stages))
  plain, tuned = training
  assert tuned["loss/4x4"] == plain["loss/4x4"]
  assert abs(tuned["loss/8x8"] / plain["loss/8x8"] - 1) > 0.01
  assert validation[0] == validation[1]
