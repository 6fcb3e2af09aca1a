"""A flow is another preconditioning of the same denoiser."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lowdiff_jax.diffusion import loss, noise, precondition, sampler
from lowdiff_jax.diffusion.guidance import Guidance
from lowdiff_jax.types import NO_LABEL, Condition
from tests import gaussian

KEYS = noise.image_keys(0, np.arange(2))
SHIFT = 1 / 0.3


def velocity(x_t, t):
  """A network: some smooth function of what it sees."""
  return jnp.sin(3 * x_t) + t * x_t - 0.5


def denoise(noisy, sigma, cond):
  """That network as a denoiser."""
  del cond
  pre = precondition.flow(sigma[:, None, None, None])
  output = velocity(pre.c_in * noisy, pre.c_noise)
  return pre.c_skip * noisy + pre.c_out * output


def test_euler_in_sigma_is_euler_in_time():
  """To rounding, from pure noise to data, on LightningDiT's shifted grid."""
  times = np.linspace(0, 1, 20)
  times = 0.3 * times / (1 + (0.3 - 1) * times)
  eps = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 4, 3)))
  x = eps
  for t, t_next in itertools.pairwise(times):
    x = x + (t_next - t) * velocity(x, t)
  sigmas = noise.flow_sigmas(19, 1e5, SHIFT)
  image, _ = sampler.Euler()(denoise, KEYS, 1e5 * eps, sigmas, Condition())
  np.testing.assert_allclose(image, x, atol=2e-4)


def test_flow_sigmas_are_the_shifted_times():
  sigmas = noise.flow_sigmas(19, 1e9, SHIFT)
  times = np.linspace(0, 1, 20)
  times = 0.3 * times / (1 + (0.3 - 1) * times)
  np.testing.assert_allclose(1 / (1 + sigmas), times, atol=1e-8)
  assert sigmas[-1] == 0 and (np.diff(sigmas) < 0).all()
  handoff = noise.flow_sigmas(4, 2.5, SHIFT)
  np.testing.assert_allclose(handoff[0], 2.5)
  tau = handoff / (SHIFT + handoff)
  np.testing.assert_allclose(np.diff(tau, 2), 0, atol=1e-12)


def test_levels_are_logit_normal_times():
  sigmas = noise.lognormal_sigmas(jax.random.key(0), 50_000, 0.5, 0.8)
  fraction = sigmas / (1 + sigmas)
  logit = jnp.log(fraction / (1 - fraction))
  assert abs(logit.mean() - 0.5) < 0.02 and abs(logit.std() - 0.8) < 0.02


@pytest.mark.parametrize("sigma", [0.05, 1.0, 30.0])
def test_losses_are_those_of_the_velocity(sigma):
  rng = np.random.default_rng(0)
  clean = jnp.asarray(rng.normal(size=(3, 4, 4, 8)), jnp.float32)
  level = jnp.full(3, sigma)
  eps = jnp.asarray(rng.normal(size=clean.shape), jnp.float32)
  error, cosine_loss = loss.denoising_loss(
    denoise,
    clean,
    eps,
    Condition(),
    sigma=level,
    weight=loss.flow_weight,
  )
  t = 1 / (1 + sigma)
  ours = np.asarray(velocity(t * clean + (1 - t) * eps, t))
  target = np.asarray(clean - eps)
  expected = np.square(ours - target).mean((1, 2, 3))
  np.testing.assert_allclose(error, expected, rtol=1e-3)
  norms = np.linalg.norm(ours, axis=-1) * np.linalg.norm(target, axis=-1)
  cosine = (ours * target).sum(-1) / norms
  np.testing.assert_allclose(cosine_loss, 1 - cosine.mean((1, 2)), atol=1e-3)


def test_weight_times_c_out_squared_is_one():
  sigma = jnp.logspace(-2, 2, 9)
  weight = loss.flow_weight(sigma) * precondition.flow(sigma).c_out ** 2
  np.testing.assert_allclose(weight, 1, rtol=1e-5)


def test_a_new_network_has_a_finite_gradient_of_the_cosine_loss():
  """LightningDiT's output starts at zero, where no direction is defined."""
  clean = jnp.ones((2, 2, 2, 4))

  def cosine_loss(scale):
    def untrained(noisy, sigma, cond):
      pre = precondition.flow(sigma[:, None, None, None])
      return pre.c_skip * noisy + pre.c_out * scale * jnp.ones_like(noisy)

    _, losses = loss.denoising_loss(
      untrained,
      clean,
      jax.random.normal(jax.random.key(0), clean.shape),
      Condition(),
      sigma=jnp.ones(2),
      weight=loss.flow_weight,
    )
    return losses.mean()

  value, slope = jax.value_and_grad(cosine_loss)(0.0)
  assert abs(value - 1) < 1e-3 and 0 < abs(slope) < 1e3


def labelled(noisy, sigma, cond):
  """A denoiser to which a label means a shift."""
  shift = jnp.where(cond.label == NO_LABEL, 0.0, 1.0)
  return gaussian.denoise(noisy, sigma, cond) + shift[:, None, None, None]


def test_guidance_of_the_first_channels_alone():
  """The published habit: the other channels are those of the label."""
  cond = Condition(label=jnp.arange(2))
  args = (gaussian.noisy(5.0, (2, 4, 4, 8)), jnp.full(2, 5.0), cond)
  everywhere = Guidance(3.0)(labelled)(*args)
  first = Guidance(3.0, channels=3)(labelled)(*args)
  np.testing.assert_array_equal(first[..., :3], everywhere[..., :3])
  # Half the batch may round the other way.
  np.testing.assert_allclose(
    first[..., 3:], labelled(*args)[..., 3:], rtol=1e-6
  )
  assert jnp.abs(first - everywhere)[..., 3:].min() > 1


def test_guiding_the_estimate_is_guiding_the_velocity():
  """D is affine in v, so LightningDiT's scales mean the same here."""
  cond, sigma = Condition(label=jnp.arange(2)), jnp.full(2, 3.0)
  noisy = gaussian.noisy(3.0)
  guided = Guidance(2.5)(labelled)(noisy, sigma, cond)
  without = labelled(noisy, sigma, Condition(jnp.full(2, NO_LABEL)))

  def v(estimate):
    return estimate - (noisy - estimate) / 3.0

  expected = v(without) + 2.5 * (v(labelled(noisy, sigma, cond)) - v(without))
  np.testing.assert_allclose(v(guided), expected, rtol=1e-4)


def test_the_second_order_pays_on_the_shifted_grid():
  """From almost pure noise to the exact end of a Gaussian's flow."""
  sigmas = noise.flow_sigmas(32, 1e3, SHIFT)
  x = gaussian.noisy(1e3)

  def error(solver):
    image, _ = solver(gaussian.denoise, KEYS, x, sigmas, Condition())
    return jnp.abs(image - gaussian.exact(x, 1e3)).max()

  assert error(sampler.DPMpp2M()) < error(sampler.Euler()) / 3 < 0.1
