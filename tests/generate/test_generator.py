"""Generated images, and the grids made of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from lowdiff_jax.data import codec
from lowdiff_jax.generate import grids
from lowdiff_jax.generate.generator import Request, concatenate
from lowdiff_jax.types import NO_LABEL
from tests import tiny


@pytest.fixture(scope="module")
def experiment():
  return tiny.experiment()


@pytest.fixture(scope="module")
def params(experiment):
  return tiny.trained_params(experiment)


def make(experiment, program, params, indices, batch_size=8, seed=0):
  request = Request(np.asarray(indices), batch_size, seed)
  return concatenate(experiment.generator.generate(program, params, request))


def test_image_depends_on_seed_and_index_alone(params):
  """Over eight devices or one, in batches of 8 or 16, the last one in part."""
  experiment = tiny.new_experiment()
  program = experiment.generator.program(experiment.stages)
  small = make(experiment, program, params, range(20))
  large = make(experiment, program, params, range(20), batch_size=16)
  alone = tiny.experiment(devices=jax.devices()[:1])
  there = jax.device_put(jax.device_get(params), jax.devices()[0])
  other = alone.generator.program(alone.stages)
  one = make(alone, other, there, range(20), batch_size=7)
  some = make(experiment, program, params, [17, 3])
  assert program._jitted._cache_size() == 2  # One for each batch size.
  for a, b, c in zip(small.stages, large.stages, one.stages, strict=True):
    # Rounding to integers may fall to either side.
    assert np.abs(a.astype(int) - b).max() <= 1
    assert np.abs(a.astype(int) - c).max() <= 1
  for ours, theirs in zip(some.stages, small.stages, strict=True):
    assert np.abs(ours.astype(int) - theirs[[17, 3]]).max() <= 1
  assert small.labels.tolist() == [i % 10 for i in range(20)]
  assert [image.shape for image in small.stages] == [
    (20, 4, 4, 1),
    (20, 8, 8, 1),
  ]


def test_a_seed_is_of_32_bits(experiment, params):
  program = experiment.generator.program(experiment.stages)
  indices = np.arange(8)
  labels = experiment.generator.labels(indices)
  seeds = (0, 5, 2**31 - 1, 2**31, 2**32 - 1)
  top = [
    make(experiment, program, params, indices, seed=seed).stages[-1]
    for seed in seeds
  ]
  assert len({images.tobytes() for images in top}) == len(seeds)
  # Those of version 0.1, whose seeds were signed.
  for seed, images in zip(seeds[:3], top[:3], strict=True):
    old = program(params, seed, indices, labels, None).images[-1]
    old = np.asarray(experiment.generator.decode(old))
    np.testing.assert_array_equal(images, old)


def test_the_whole_cascade_never_calls_the_host(experiment, params):
  indices = np.arange(8)
  args = (params, 0, indices, experiment.generator.labels(indices))
  program = experiment.generator.program(experiment.stages)
  text = program.lower(*args).compile().as_text()
  for host in ("infeed", "outfeed", "send(", "recv(", "callback"):
    assert host not in text


def test_trajectories_end_at_the_stages(experiment, params):
  program = experiment.generator.program(experiment.stages, trajectory=True)
  images = make(experiment, program, params, range(10))
  for stage, steps in zip(images.stages, images.trajectories, strict=True):
    np.testing.assert_array_equal(steps[-1], stage)
  assert [len(steps) for steps in images.trajectories] == [3, 2]


def test_equal_stages_have_one_program(experiment):
  generator, stages = experiment.generator, experiment.stages
  program = generator.program(stages)
  assert generator.program(list(stages)) is program
  low, high = stages
  others = [low, high._replace(sigmas=2 * high.sigmas)]
  assert generator.program(others) is not program
  assert generator.program(stages, trajectory=True) is not program
  other = dataclasses.replace(generator, bind=lambda params: params)
  assert other.program(stages) is not program


def test_labels(experiment):
  indices = np.arange(5)
  spec, generator = experiment.spec, experiment.generator
  three = dataclasses.replace(generator, spec=spec._replace(num_classes=3))
  assert three.labels(indices).tolist() == [0, 1, 2, 0, 1]
  assert three.labels(indices, label=2).tolist() == [2] * 5
  none = dataclasses.replace(generator, spec=spec._replace(num_classes=0))
  assert none.labels(indices).tolist() == [NO_LABEL] * 5


def test_bytes_survive_the_way_to_floats_and_back():
  values = jnp.arange(256, dtype=jnp.uint8)
  floats = codec.from_uint8(values)
  assert floats.min() == -1 and floats.max() == 1
  np.testing.assert_array_equal(codec.to_uint8(floats), values)
  assert codec.to_uint8(jnp.array([-3.0, 3.0])).tolist() == [0, 255]


@pytest.mark.parametrize("channels", [1, 3])
def test_png_is_lossless(channels, tmp_path):
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (5, 5, channels), np.uint8)
  grids.write_png(tmp_path / "a.png", image)
  read = np.asarray(Image.open(tmp_path / "a.png")).reshape(image.shape)
  np.testing.assert_array_equal(read, image)
  assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_grid_and_strip_place_their_images():
  images = np.arange(5, dtype=np.uint8)[:, None, None, None]
  images = np.broadcast_to(images, (5, 16, 16, 1))
  picture = grids.grid(images, columns=2)
  step = 48 + grids.MARGIN
  assert picture.shape == (3 * step + 2, 2 * step + 2, 1)
  for i in range(5):
    center = picture[(i // 2) * step + step // 2, (i % 2) * step + step // 2]
    assert center == i
  assert picture[-1, -1] == 255
  low = np.full((2, 8, 8, 1), 7, np.uint8)
  picture = grids.strip([low, images[:2]])
  assert picture[step // 2, step // 2] == 7
  assert picture[step + step // 2, step + step // 2] == 1


def test_memory_is_bounded_by_the_largest_stage():
  """What a stage needs is free again when the next one runs."""
  alone = tiny.experiment(devices=jax.devices()[:1])
  params, low_res = alone.init().params, jnp.zeros((64, 4, 4, 1))

  def temporary(stages, low_res=None):
    args = (params, 0, np.arange(64), np.zeros(64, np.int32), low_res)
    program = alone.generator.program(stages).lower(*args).compile()
    return program.memory_analysis().temp_size_in_bytes

  first, last = alone.stages
  stages = [temporary([first]), temporary([last], low_res)]
  # What is left over: keys, and the images that go from stage to stage.
  passed = 64 * (4 * 4 + 8 * 8) * 4 * 4
  assert temporary(alone.stages) <= max(stages) + passed < sum(stages)
