"""The laws of the cascade."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lowdiff_jax.diffusion import cascade, noise, sampler
from lowdiff_jax.diffusion.guidance import Guidance
from lowdiff_jax.types import NO_LABEL, Condition
from tests import gaussian

SIGMAS = noise.karras_sigmas(6, 0.01, 10.0)


def denoise(noisy, sigma, cond):
  """Depends on all that a denoiser is told."""
  clean = gaussian.denoise(noisy, sigma, cond)
  if cond.label is not None:
    clean = clean + 0.1 * cond.label[:, None, None, None]
  if cond.low_res is not None:
    clean = clean + jnp.repeat(jnp.repeat(cond.low_res, 2, 1), 2, 2)
    clean = clean + cond.low_res_sigma[:, None, None, None]
  return clean


def stages(**kwargs):
  return (
    cascade.Stage(4, SIGMAS, sampler.Heun()),
    cascade.Stage(8, SIGMAS, sampler.DPMpp2M(), **kwargs),
  )


def sample(indices, stages, **kwargs):
  keys = noise.image_keys(3, np.asarray(indices))
  images, _ = cascade.cascade(denoise, keys, stages, channels=1, **kwargs)
  return images


def test_one_stage_is_the_sampler():
  (image,) = sample([0, 1], stages()[:1])
  seen = {}

  def spy(denoise, keys, noisy, sigmas, cond, *, trajectory):
    seen.update(keys=keys, noisy=noisy, cond=cond)
    return noisy, None

  sample([0, 1], [stages()[0]._replace(sampler=spy)])
  assert seen["cond"].low_res is None
  expected, _ = sampler.Heun()(
    denoise, seen["keys"], seen["noisy"], SIGMAS, seen["cond"]
  )
  np.testing.assert_array_equal(image, expected)
  assert abs(seen["noisy"].std() - SIGMAS[0]) < 0.3 * SIGMAS[0]


def test_image_depends_on_seed_and_index_alone():
  label = jnp.arange(5)
  together = sample(range(5), stages(low_res_sigma=0.2), label=label)
  alone = sample([3], stages(low_res_sigma=0.2), label=label[3:4])
  for a, b in zip(together, alone, strict=True):
    np.testing.assert_allclose(a[3], b[0], atol=1e-5)


def test_upscaling_is_the_rest_of_the_cascade():
  images = sample(range(3), stages(low_res_sigma=0.1))
  (upscaled,) = sample(
    range(3), stages(low_res_sigma=0.1)[1:], low_res=images[0]
  )
  np.testing.assert_array_equal(images[1], upscaled)


def test_handoff_starts_from_the_low_resolution():
  def spy(denoise, keys, noisy, sigmas, cond, *, trajectory):
    return noisy, None

  low_res = jnp.asarray(np.random.default_rng(0).normal(size=(500, 2, 2, 1)))
  starts = {}
  for start in cascade.STARTS:
    stage = cascade.Stage(4, np.array([0.5, 0.0]), spy, start)
    (starts[start],) = sample(range(500), [stage], low_res=low_res)
  difference = starts["handoff"] - starts["noise"]
  upsampled = jnp.repeat(jnp.repeat(low_res, 2, 1), 2, 2)
  np.testing.assert_allclose(difference, upsampled, atol=1e-5)
  assert abs(starts["noise"].std() - 0.5) < 0.02


def test_condition_gets_its_noise():
  def spy(denoise, keys, noisy, sigmas, cond, *, trajectory):
    return cond.low_res, None

  stage = cascade.Stage(4, SIGMAS, spy, low_res_sigma=0.3)
  (low_res,) = sample(range(500), [stage], low_res=jnp.ones((500, 2, 2, 1)))
  assert abs((low_res - 1).std() - 0.3) < 0.02


def test_traces_once_and_never_calls_the_host():
  traces = []

  @jax.jit
  def generate(seed, indices, label):
    traces.append(1)
    keys = noise.image_keys(seed, indices)
    images, _ = cascade.cascade(
      denoise, keys, stages(start="handoff"), channels=1, label=label
    )
    return images

  for seed in range(3):
    generate(seed, jnp.arange(4) + seed, jnp.arange(4))
  assert len(traces) == 1
  text = generate.lower(0, jnp.arange(4), jnp.arange(4)).compile().as_text()
  for host in ("infeed", "outfeed", "send(", "recv(", "callback"):
    assert host not in text
  assert "while" in text  # The steps are a scan, not unrolled.


def counted(stage):
  """NFE by running the stage on a denoiser that counts its images."""
  count = 0

  def spy(noisy, sigma, cond):
    nonlocal count
    count += len(noisy)
    return denoise(noisy, sigma, cond)

  keys = noise.image_keys(0, [0])
  with jax.disable_jit():
    cascade.cascade(spy, keys, [stage], channels=1, label=jnp.zeros(1, int))
  return count


def test_nfe_counts_the_network():
  guided = stages()[0]._replace(guidance=Guidance(2.0, (0.5, 5.0)))
  in_heun = [*SIGMAS[:-1], *SIGMAS[1:-1]]
  inside = sum(0.5 <= sigma <= 5.0 for sigma in in_heun)
  assert stages()[0].nfe == counted(stages()[0]) == 11
  assert stages()[1].nfe == counted(stages()[1]) == 6
  assert guided.nfe == counted(guided) == 11 + inside
  at_the_limits = guided._replace(
    guidance=Guidance(2.0, (float(SIGMAS[3]), float(SIGMAS[1])))
  )
  assert at_the_limits.nfe == counted(at_the_limits) == 11 + 6


@pytest.mark.parametrize("sigma", [0.4, 2.0, 7.0])
def test_guidance(sigma):
  x = gaussian.noisy(1.0)
  sigma = jnp.full(2, sigma)
  cond = Condition(label=jnp.array([1, 5]))
  without = Condition(label=jnp.full(2, NO_LABEL))
  labelled, unlabelled = denoise(x, sigma, cond), denoise(x, sigma, without)
  identity = Guidance(1.0)(denoise)
  np.testing.assert_array_equal(identity(x, sigma, cond), labelled)
  guided = Guidance(3.0, (0.5, 5.0))(denoise)
  expected = labelled
  if sigma[0] == 2.0:
    expected = unlabelled + 3 * (labelled - unlabelled)
  np.testing.assert_allclose(guided(x, sigma, cond), expected, atol=1e-5)


def test_guidance_of_mixed_levels():
  x, sigma = gaussian.noisy(1.0), jnp.array([2.0, 7.0])
  cond = Condition(label=jnp.array([1, 5]))
  guided = Guidance(3.0, (0.5, 5.0))(denoise)
  plain = denoise(x, sigma, cond)
  result = guided(x, sigma, cond)
  np.testing.assert_allclose(result[1], plain[1], atol=1e-5)
  assert jnp.abs(result[0] - plain[0]).min() > 0.1


def test_the_condition_s_noise_is_not_that_of_the_start():
  """Not the same random numbers in another shape, image by image."""
  seen = {}

  def spy(denoise, keys, noisy, sigmas, cond, *, trajectory):
    seen.update(start=noisy / sigmas[0], low=cond.low_res)
    return noisy, None

  stage = cascade.Stage(4, SIGMAS, spy, low_res_sigma=1.0)
  sample(range(500), [stage], low_res=jnp.zeros((500, 2, 2, 1)))
  start = np.asarray(seen["start"]).reshape(500, -1)[:, :4]
  low = np.asarray(seen["low"]).reshape(500, -1)
  assert abs(np.corrcoef(start.ravel(), low.ravel())[0, 1]) < 0.1


def test_seeds_give_other_images():
  one, other = (
    jax.random.key_data(noise.image_keys(seed, [0, 1])) for seed in (0, 1)
  )
  assert (one != other).any(-1).all()


def test_steps_are_the_intervals_of_the_grid():
  stage = stages()[0]
  assert stage.steps == 6 and stage.to_json()["steps"] == 6


def test_starts_that_cannot_be_are_refused():
  low = stages()[0]
  with pytest.raises(ValueError, match="expected one of"):
    sample([0], [low._replace(start="nosie")])
  with pytest.raises(ValueError, match="first stage cannot start by handoff"):
    sample([0], [low._replace(start="handoff")])
