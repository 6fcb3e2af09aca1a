"""Laws of preconditioning, pyramid and loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lowdiff_jax.diffusion import loss, noise, precondition, pyramid
from lowdiff_jax.types import NO_LABEL, Condition
from tests import gaussian


@pytest.mark.parametrize("sigma_data", [0.3, 0.5, 1.0])
def test_edm_keeps_unit_variance(sigma_data):
  """Of the input and of the target F = (clean - c_skip noisy) / c_out."""
  rng = np.random.default_rng(0)
  clean = sigma_data * rng.standard_normal(200_000)
  for sigma in (0.01, 0.5, 20.0):
    noisy = clean + sigma * rng.standard_normal(clean.shape)
    pre = precondition.edm(jnp.asarray(sigma), sigma_data=sigma_data)
    assert abs((pre.c_in * noisy).std() - 1) < 0.01
    target = (clean - float(pre.c_skip) * noisy) / float(pre.c_out)
    assert abs(target.std() - 1) < 0.01


def test_weight_times_c_out_squared_is_one():
  sigma = jnp.logspace(-2, 2, 9)
  pre = precondition.edm(sigma, sigma_data=0.5)
  weight = loss.edm_weight(sigma, sigma_data=0.5)
  np.testing.assert_allclose(weight * pre.c_out**2, 1, rtol=1e-5)


def test_perfect_and_untrained_denoisers():
  """The loss of F = 0 is 1; the exact denoiser's is the posterior variance."""
  count, sigma_data = 20_000, gaussian.STD
  rng = np.random.default_rng(0)
  clean = jnp.asarray(sigma_data * rng.standard_normal((count, 2, 2, 1)))
  sigma = jnp.full(count, 0.5)

  def untrained(noisy, sigma, cond):
    pre = precondition.edm(sigma, sigma_data=sigma_data)
    return pre.c_skip[:, None, None, None] * noisy

  eps = jax.random.normal(jax.random.key(0), clean.shape)
  args = (clean, eps, Condition())
  per_example, _ = loss.denoising_loss(
    untrained,
    *args,
    sigma=sigma,
    weight=lambda s: loss.edm_weight(s, sigma_data=sigma_data),
  )
  assert per_example.shape == (count,)
  assert abs(per_example.mean() - 1) < 0.02
  exact, _ = loss.denoising_loss(
    lambda x, s, c: gaussian.denoise(x + gaussian.MEAN, s, c) - gaussian.MEAN,
    *args,
    sigma=sigma,
    weight=lambda s: 1.0,
  )
  posterior = 1 / (1 / sigma_data**2 + 1 / 0.5**2)
  assert abs(exact.mean() - posterior) < 0.01


def test_pyramid_is_exact_means():
  image = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 3)))
  low, middle, top = pyramid.pyramid(image, 3)
  assert low.shape == (2, 2, 2, 3) and top is image
  np.testing.assert_allclose(
    middle[1, 2, 3], image[1, 4:6, 6:8].mean((0, 1)), 1e-5
  )
  np.testing.assert_allclose(low.mean(), image.mean(), rtol=1e-4)


def test_a_pyramid_of_the_data_s_own_is_taken_from_its_top():
  own = tuple(jnp.full((1, side, side, 1), side) for side in (2, 4, 8))
  low, top = pyramid.pyramid(own, 2)
  assert low.shape[1] == 4 and top.shape[1] == 8


def test_upsampling_doubles_and_keeps_constants():
  constant = jnp.full((1, 4, 4, 2), 0.25)
  doubled = pyramid.upsample(constant)
  np.testing.assert_allclose(doubled, jnp.full((1, 8, 8, 2), 0.25), atol=1e-6)


def test_nearest_is_the_inverse_of_downsampling():
  image = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 4, 3)))
  restored = pyramid.downsample(pyramid.upsample(image))
  np.testing.assert_allclose(restored, image, atol=1e-6)


def test_averaging_halves_the_noise():
  eps = noise.normal_per_image(noise.image_keys(0, np.arange(500)), (8, 8, 1))
  assert abs(pyramid.downsample(eps).std() - 0.5) < 0.01


def make_stages(**kwargs):
  def weight(sigma):
    return loss.edm_weight(sigma, sigma_data=0.5)

  return tuple(
    loss.StageLoss(side, images, -1.2, 1.2, weight, **kwargs)
    for side, images in ((4, 6), (8, 4))
  )


def test_cascade_loss_trains_each_stage_on_what_it_will_see():
  seen = {}

  def spy(noisy, sigma, cond):
    seen[noisy.shape[1]] = (noisy, sigma, cond)
    return noisy

  image = jnp.asarray(np.random.default_rng(0).normal(size=(6, 8, 8, 1)))
  stages = make_stages(low_res_sigma=(0.1, 0.2), scale=3.0)
  examples = loss.draw_examples(
    jax.random.key(0),
    image,
    jnp.arange(6),
    stages=stages,
    label_dropout=0.5,
    augment=jnp.arange(6)[:, None],
  )
  total, metrics = loss.cascade_loss(spy, examples, stages=stages)
  assert seen[4][0].shape == (6, 4, 4, 1) and seen[8][0].shape == (4, 8, 8, 1)
  assert seen[4][2].low_res is None
  low_res, sigma = seen[8][2].low_res, seen[8][2].low_res_sigma
  assert ((sigma >= 0.1) & (sigma <= 0.2)).all()
  # Four of six are two of every three.
  rows = {6: np.arange(6), 4: np.array([0, 1, 3, 4])}
  error = low_res - pyramid.downsample(image)[rows[4]]
  assert (jnp.abs(error) <= 6 * sigma[:, None, None, None]).all()
  for _, _, cond in seen.values():
    chosen = rows[len(cond.label)]
    assert (cond.augment[:, 0] == chosen).all()
    kept = cond.label == chosen
    assert (kept | (cond.label == NO_LABEL)).all()
  expected = 3 * (metrics["loss/4x4"] + metrics["loss/8x8"])
  np.testing.assert_allclose(total, expected, rtol=1e-6)


def test_label_dropout_has_its_rate():
  (examples,) = loss.draw_examples(
    jax.random.key(0),
    jnp.zeros((4000, 2, 2, 1)),
    jnp.zeros(4000, jnp.int32),
    stages=[loss.StageLoss(2, 4000, -1.2, 1.2, lambda s: s)],
    label_dropout=0.1,
  )
  dropped = examples.cond.label == NO_LABEL
  assert abs(dropped.mean() - 0.1) < 0.02


@pytest.mark.parametrize("count", [16, 32, 48, 64])
@pytest.mark.parametrize("devices", [1, 2, 4, 8])
def test_a_stage_takes_as_many_images_from_every_device(count, devices):
  (examples,) = loss.draw_examples(
    jax.random.key(0),
    jnp.zeros((64, 2, 2, 1)),
    jnp.arange(64),
    stages=[loss.StageLoss(2, count, -1.2, 1.2, lambda s: s)],
  )
  held = np.bincount(examples.cond.label // (64 // devices))
  assert held.tolist() == [count // devices] * devices
  assert len(set(examples.cond.label.tolist())) == count


def test_validation_loss_names_five_levels_of_each_stage():
  metrics = loss.validation_loss(
    lambda x, s, c: x,
    jax.random.key(0),
    jnp.zeros((4, 8, 8, 1)),
    None,
    stages=make_stages(),
  )
  assert len(metrics) == 10
  levels = noise.lognormal_quantiles(5, -1.2, 1.2)
  assert abs(np.log(levels).mean() + 1.2) < 1e-6
  assert f"validation/8x8/sigma_{levels[0]:.3g}" in metrics
