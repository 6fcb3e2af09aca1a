"""Stage by stage, cascades give the images that they give as one program."""

import dataclasses

import jax
import numpy as np
import pytest

from lowdiff_jax.diffusion import noise
from lowdiff_jax.diffusion.sampler import DPMpp2M, Euler
from lowdiff_jax.generate.generator import Request, concatenate
from lowdiff_jax.schedules.stagewise import Stagewise
from tests import tiny

# Larger than any signed number of 32 bits.
SEED = 2**31 + 1


@pytest.fixture(scope="module")
def experiment():
  return tiny.experiment()


def make(experiment, bind=None):
  generator = experiment.generator
  if bind is not None:
    generator = dataclasses.replace(generator, bind=bind)
  return Stagewise(generator, experiment.init().params, seed=SEED, batch_size=8)


def images(maker, stages, count=12, first=0):
  made = maker.images(stages, count, first)
  return np.concatenate([batch.image for batch in made.read(0)])


def test_the_images_are_those_of_one_program(experiment):
  found = images(make(experiment), experiment.stages, 12, 3)
  generator = experiment.generator
  expected = concatenate(
    generator.generate(
      generator.program(experiment.stages),
      experiment.init().params,
      Request(np.arange(3, 15), 8, SEED),
    )
  )
  # Rounding to integers may fall to either side.
  difference = found.astype(int) - expected.stages[-1]
  assert found.shape == (12, 8, 8, 1) and np.abs(difference).max() <= 1


def test_what_two_cascades_share_is_made_once(experiment):
  maker = make(experiment)
  first, last = experiment.stages
  images(maker, experiment.stages)
  small, large = maker.evaluated[4], maker.evaluated[8]
  assert small == 16 * first.nfe
  other = last._replace(sigmas=noise.karras_sigmas(4, 0.01, 5.0))
  images(maker, (first, other))
  assert maker.evaluated == {4: small, 8: large + 16 * 4}


class Plain(Euler):
  """It knows its levels from their number alone, as one's own solver may."""

  any_steps = False

  def __call__(self, *args, trajectory=False):
    return super().__call__(*args, trajectory=trajectory)


@pytest.mark.parametrize("solver", [DPMpp2M(), Plain()])
def test_other_noise_levels_need_no_other_program(experiment, solver):
  traces = []

  def bind(params):
    denoise = experiment.bind(params)

    def counting(noisy, sigma, cond):
      traces.append(noisy.shape)
      return denoise(noisy, sigma, cond)

    return counting

  maker, (first, last) = make(experiment, bind), experiment.stages
  last = last._replace(sampler=solver)
  before = images(maker, (first, last))
  count = len(traces)
  scaled = last._replace(sigmas=0.5 * last.sigmas, low_res_sigma=0.1)
  after = images(maker, (first, scaled))
  assert len(traces) == count and (before != after).any()
  fewer = images(maker, (first, last._replace(sigmas=last.sigmas[1:])))
  assert (len(traces) == count) == solver.any_steps
  assert (before != fewer).any()


def test_seconds_add_up(experiment):
  maker, (first, last) = make(experiment), experiment.stages
  longer = last._replace(sigmas=noise.karras_sigmas(12, 0.01, 5.0))
  one, two, three = (
    maker.seconds(stages)
    for stages in ((first,), (first, last), (first, longer))
  )
  assert 0 < one < two < three
  per_evaluation = (two - one) / last.nfe
  np.testing.assert_allclose(three - one, 12 * per_evaluation)
  assert jax.device_count() == 8
