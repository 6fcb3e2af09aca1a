"""The laws of a cascade whose stages come in any order of resolutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lowdiff_jax.diffusion import cascade, noise, pyramid, sampler
from lowdiff_jax.types import Condition
from tests import gaussian

SIGMAS = noise.karras_sigmas(4, 0.5, 10.0)


def start(denoise, keys, noisy, sigmas, cond, *, trajectory):
  """A sampler that returns what it is given."""
  return noisy, None


def sample(stages, denoise=gaussian.denoise, count=2, **kwargs):
  keys = noise.image_keys(3, np.arange(count))
  images, _ = cascade.cascade(denoise, keys, stages, channels=1, **kwargs)
  return images


def in_order(order, sampler=sampler.Heun(), sigmas=SIGMAS):  # noqa: B008
  return [
    cascade.Stage(side, sigmas, sampler, "handoff" if k else "noise")
    for k, side in enumerate(order)
  ]


@pytest.mark.parametrize("side", [2, 8, 16])
def test_an_image_is_resized_to_any_resolution(side):
  rng = np.random.default_rng(0)
  image = jnp.asarray(rng.normal(size=(3, 8, 8, 2)), jnp.float32)
  brought = pyramid.resize(image, side)
  blocks = image.reshape(3, 2, 4, 2, 4, 2).mean((2, 4))
  expected = {2: blocks, 8: image, 16: image.repeat(2, 1).repeat(2, 2)}[side]
  np.testing.assert_allclose(brought, expected, atol=1e-6)


def test_handoff_downwards_starts_from_the_mean_of_pixels():
  stage = cascade.Stage(4, np.array([0.5, 0.0]), start)
  image = np.random.default_rng(0).normal(size=(500, 8, 8, 1))
  (plain,), (handed,) = (
    sample([stage._replace(start=how)], count=500, low_res=jnp.asarray(image))
    for how in cascade.STARTS
  )
  mean = image.reshape(500, 4, 2, 4, 2, 1).mean((2, 4))
  np.testing.assert_allclose(handed - plain, mean, atol=1e-5)
  assert abs(plain.std() - 0.5) < 0.02


def test_only_half_the_resolution_is_a_condition():
  seen = []

  def spy(denoise, keys, noisy, sigmas, cond, *, trajectory):
    seen.append(cond.low_res)
    return noisy, None

  images = sample(in_order((8, 4, 4, 8, 2, 8), spy))
  assert [low is not None for low in seen] == [0, 0, 0, 1, 0, 0]
  np.testing.assert_array_equal(seen[3], images[2])


def test_visits_of_a_resolution_draw_different_noise():
  """And the first one what it would draw alone."""
  stages = [s._replace(start="noise") for s in in_order((4, 2, 4, 4), start)]
  images = [np.asarray(image).ravel() for image in sample(stages, count=500)]
  (alone,) = sample(stages[:1], count=500)
  np.testing.assert_array_equal(images[0], alone.ravel())
  visits = np.stack([images[k] for k in (0, 2, 3)])
  assert np.abs(np.corrcoef(visits) - np.eye(3)).max() < 0.05
  np.testing.assert_allclose(visits.std(1), SIGMAS[0], rtol=0.05)


def test_first_visits_draw_what_cascades_always_drew():
  """The law that keeps published results: a key per resolution, no more."""
  low, high = sample(in_order((4, 8), start))
  keys = noise.image_keys(3, np.arange(2))

  def drawn(side):
    stage_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, side)
    start_keys = jax.vmap(lambda key: jax.random.split(key, 3)[1])(stage_keys)
    return SIGMAS[0] * noise.normal_per_image(start_keys, (side, side, 1))

  np.testing.assert_array_equal(low, drawn(4))
  np.testing.assert_array_equal(high, drawn(8) + pyramid.upsample(low))


def test_a_stage_that_ends_early_hands_on_its_clean_estimate():
  """D(x; sigma_n) and not x, which still has noise of std sigma_n."""
  first, last = 10.0, 4.0
  early = cascade.Stage(4, np.array([first, last, 0.0]), sampler.Euler())
  above = in_order((4, 8), start)[1]
  _, handed = sample([early, above])
  (noisy,), (fresh,) = (sample(in_order((k,), start)) for k in (4, 8))

  def clean(noisy, sigma):
    return gaussian.denoise(noisy, jnp.full(2, sigma), Condition())

  noisy = last / first * noisy + (1 - last / first) * clean(noisy, first)
  expected = pyramid.upsample(clean(noisy, last))
  np.testing.assert_allclose(handed - fresh, expected, atol=1e-5)


@pytest.mark.parametrize(
  "order", [(8,), (4, 8), (8, 4, 8), (2, 8), (8, 8), (8, 2, 4, 2, 8)]
)
@pytest.mark.parametrize("make", sampler.SAMPLERS.values())
def test_any_order_ends_on_the_only_image_there_is(order, make):
  """The exact denoiser of one image returns it, whatever it is shown."""
  rng = np.random.default_rng(0)
  image = jnp.asarray(rng.normal(size=(1, 8, 8, 1)), jnp.float32)

  def denoise(noisy, sigma, cond):
    del sigma, cond
    clean = pyramid.resize(image, noisy.shape[1])
    return jnp.broadcast_to(clean, noisy.shape)

  *_, end = sample(in_order(order, make()), denoise)
  np.testing.assert_array_equal(end, jnp.concatenate([image, image]))
