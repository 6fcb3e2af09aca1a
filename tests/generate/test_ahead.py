"""The devices work ahead of the host, a bounded number of batches."""

import dataclasses
import itertools

import numpy as np
import pytest
from PIL import Image

from lowdiff_jax import files
from lowdiff_jax.distributed import ahead
from lowdiff_jax.generate import grids
from lowdiff_jax.generate.generator import Request
from lowdiff_jax.metrics.features import collect
from lowdiff_jax.types import Batch, ImageSet
from tests import tiny


class FaultError(Exception):
  pass


def logged(log, name, items, fault=None):
  """The items; notes each one that is drawn, and raises at `fault`."""
  for item in items:
    if item == fault:
      raise FaultError
    log.append((name, item))
    yield item


def test_items_are_drawn_ahead_in_order_and_few():
  log = []
  for item in ahead(logged(log, "drawn", range(6)), depth=2):
    log.append(("returned", item))
  returned = [item for name, item in log if name == "returned"]
  assert returned == list(range(6))
  for item in range(6):
    drawn = log[: log.index(("returned", item))].count
    count = sum(drawn(("drawn", other)) for other in range(6))
    assert count == min(item + 3, 6)


@pytest.mark.parametrize("fault", range(5))
def test_an_error_comes_after_what_was_drawn_before_it(fault):
  found = []
  with pytest.raises(FaultError):
    for item in ahead(logged([], "", range(9), fault), depth=2):
      found.append(item)
  assert found == list(range(fault))


class OnDevice:
  """An array whose fetching is noted."""

  def __init__(self, array, log, number):
    self.array, self.log, self.number = array, log, number

  def __array__(self, *args, **kwargs):
    self.log.append(("fetched", self.number))
    return np.asarray(self.array, *args, **kwargs)


def observed(experiment, log):
  """The experiment's generator and program; notes dispatches and fetches."""
  program = experiment.generator.program(experiment.stages)
  numbers = itertools.count()

  def dispatch(params, seed, indices, labels, low_res=None):
    log.append(("dispatched", next(numbers)))
    return program(params, seed, indices, labels, low_res)

  def decode(images):
    decoded = experiment.generator.decode(images)
    return OnDevice(decoded, log, log[-1][1])

  return dataclasses.replace(experiment.generator, decode=decode), dispatch


def test_the_next_batches_are_dispatched_before_one_is_fetched():
  experiment, log = tiny.experiment(), []
  generator, program = observed(experiment, log)
  params, request = experiment.init().params, Request(np.arange(40), 8)
  made = generator.generate(program, params, request, last_only=True)
  top = [batch.stages[-1] for batch in made]
  assert [number for name, number in log if name == "fetched"] == [*range(5)]
  for number in range(5):
    before = [name for name, _ in log[: log.index(("fetched", number))]]
    assert before.count("dispatched") == min(number + 3, 5)
  program = experiment.generator.program(experiment.stages)
  made = experiment.generator.generate(program, params, request)
  np.testing.assert_array_equal(
    np.concatenate(top), np.concatenate([batch.stages[-1] for batch in made])
  )


def test_images_are_generated_while_features_are_fetched():
  """Three batches at most are generated and not yet fetched."""
  log = []

  def read(start):
    for number in logged(log, "generated", range(start // 4, 8)):
      image = np.full((4, 2, 2, 3), number, np.uint8)
      yield Batch(image, np.zeros(4, np.int32))

  def extract(images):
    return {"pool": OnDevice(images[:, 0, 0], log, int(images[0, 0, 0, 0]))}

  found = collect(ImageSet(32, 4, read), extract)
  np.testing.assert_array_equal(found.column("pool")[:, 0], np.arange(32) // 4)
  for number in range(8):
    before = [name for name, _ in log[: log.index(("fetched", number))]]
    assert before.count("generated") == min(number + 3, 8)


def test_a_program_that_fails_loses_no_batch_before_it():
  experiment = tiny.experiment()
  program = experiment.generator.program(experiment.stages)

  def failing(params, seed, indices, labels, low_res):
    if indices[0] == 16:
      raise FaultError
    return program(params, seed, indices, labels, low_res)

  found = []
  with pytest.raises(FaultError):
    found.extend(
      batch.indices
      for batch in experiment.generator.generate(
        failing, experiment.init().params, Request(np.arange(40), 8)
      )
    )
  np.testing.assert_array_equal(np.concatenate(found), np.arange(16))


def test_files_are_written_in_threads_and_faults_reach_the_caller(tmp_path):
  images = np.arange(32, dtype=np.uint8)[:, None, None, None]
  images = np.broadcast_to(images, (32, 8, 8, 3))
  paths = [tmp_path / f"{i:02d}.png" for i in range(32)]
  grids.write_pngs(paths, images)
  for i, path in enumerate(paths):
    np.testing.assert_array_equal(np.asarray(Image.open(path)), images[i])
  paths[5] = tmp_path / "missing" / "05.png"
  with pytest.raises(files.DiskError, match=r"missing/05.png cannot be"):
    grids.write_pngs(paths, images)
  assert not list(tmp_path.rglob(f"*{files.PARTIAL}"))
