"""Laws of the training step, its average and its placement on devices."""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from lowdiff_jax import distributed
from lowdiff_jax.train import ema, optimizer, state
from lowdiff_jax.train.step import make_train_step
from lowdiff_jax.types import Batch, UserError
from tests import tiny


@functools.cache
def losses_and_params(data, fsdp, devices):
  """Five steps on some of the devices."""
  experiment = tiny.experiment(
    devices=jax.devices()[:devices], **{"mesh.data": data, "mesh.fsdp": fsdp}
  )
  current, losses = experiment.init(), []
  for i in range(5):
    batch = distributed.global_batch(experiment.mesh, tiny.batch(8, i))
    current, metrics = experiment.step(current, jax.random.key(0), batch)
    losses.append(float(metrics["loss"]))
  return losses, current


@pytest.mark.parametrize(("data", "fsdp"), [(8, 1), (2, 4)])
def test_eight_devices_are_one_device_to_rounding(data, fsdp):
  expected, one = losses_and_params(1, 1, 1)
  losses, many = losses_and_params(data, fsdp, 8)
  np.testing.assert_allclose(losses, expected, rtol=1e-4)
  chex.assert_trees_all_close(
    jax.device_get(many.ema_params), jax.device_get(one.ema_params), atol=1e-3
  )
  specs = {leaf.sharding.spec for leaf in jax.tree.leaves(many)}
  assert any("fsdp" in spec for spec in specs) == (fsdp > 1)


def test_one_program_serves_fresh_stepped_and_restored_states():
  experiment = tiny.new_experiment()
  batch = distributed.global_batch(experiment.mesh, tiny.batch())
  shardings = jax.tree.map(lambda x: x.sharding, experiment.state_shapes)
  current = experiment.init()
  for _ in range(2):
    current, _ = experiment.step(current, jax.random.key(0), batch)
    restored = jax.device_put(jax.device_get(current), shardings)
    experiment.step(restored, jax.random.key(0), batch)
  assert experiment.step._jitted._cache_size() == 1


def test_mesh_must_fit_the_devices():
  assert dict(distributed.make_mesh(-1, 2).shape) == {"data": 4, "fsdp": 2}
  for data, fsdp in ((3, 1), (-1, 16), (-1, 3)):
    with pytest.raises(UserError, match=r"data=.* devices, 8"):
      distributed.make_mesh(data, fsdp)


def test_the_largest_axis_that_divides_is_split():
  mesh = distributed.make_mesh(2, 4)
  tree = {"a": (3, 3, 64, 128), "b": (6, 4096), "c": (8,), "d": (63, 65)}
  tree = {k: jax.ShapeDtypeStruct(s, jnp.float32) for k, s in tree.items()}
  specs = {
    name: where.spec
    for name, where in distributed.state_shardings(mesh, tree).items()
  }
  assert specs["a"] == P(None, None, None, "fsdp")
  assert specs["b"] == P(None, "fsdp")
  assert specs["c"] == P(None)
  assert specs["d"] == P(None, None)


class Device(NamedTuple):
  device_kind: str


@pytest.mark.parametrize(
  ("kind", "count", "millions", "fsdp"),
  [
    ("TPU v5 lite", 8, 130, 1),
    ("TPU v5 lite", 8, 676, 4),
    ("TPU v5 lite", 6, 676, 2),
    ("TPU v5 lite", 1, 676, 1),
    ("TPU v5", 8, 676, 1),
    ("NVIDIA H100 80GB HBM3", 8, 676, 1),
    ("cpu", 8, 10_000, 1),
  ],
)
def test_fsdp_is_the_least_that_leaves_memory(kind, count, millions, fsdp):
  """Parameters, their EMA, two moments and the gradient, in float32."""
  size = 5 * 4 * millions * 10**6
  assert distributed.least_fsdp(size, [Device(kind)] * count) == fsdp


def test_fsdp_of_an_experiment(monkeypatch):
  assert tiny.experiment().mesh.shape["fsdp"] == 1
  params = jax.tree.leaves(tiny.experiment().state_shapes.params)
  size = 5 * 4 * sum(leaf.size for leaf in params)
  monkeypatch.setitem(distributed.MEMORY, "cpu", 4 * size / 2 + 100)
  assert tiny.new_experiment().mesh.shape["fsdp"] == 2
  assert tiny.experiment(**{"mesh.fsdp": 4}).mesh.shape["fsdp"] == 4


def test_half_life_is_in_images():
  """After half_life images half of the old is left, whatever the batch."""
  for batch in (1, 10, 100):
    kept = ema.decay(
      jnp.uint32(10**9), batch, half_life=1000.0, ramp=float("inf")
    )
    np.testing.assert_allclose(kept ** (1000 / batch), 0.5, rtol=1e-3)


def test_early_average_forgets_quickly():
  decay = functools.partial(ema.decay, batch_size=10, half_life=1e6, ramp=0.05)
  assert decay(jnp.uint32(0)) == 0
  expected = 0.5 ** (10 / 50)
  np.testing.assert_allclose(decay(jnp.uint32(1000)), expected, rtol=1e-5)


def test_step_counts_averages_and_is_random_by_step():
  seen = []

  def gradient_fn(params, key, batch):
    seen.append(1)
    return {"w": 2 * (params["w"] - 1)}, {"noise": jax.random.normal(key)}

  optimiser = optax.sgd(0.1)
  step = jax.jit(
    make_train_step(
      gradient_fn, optimiser, ema_half_life=8.0, ema_ramp=float("inf")
    )
  )
  current = state.create({"w": jnp.zeros(2)}, optimiser)
  batch, noises, params = tiny.batch(8), [], [0.0]
  for _ in range(3):
    current, metrics = step(current, jax.random.key(0), batch)
    noises.append(float(metrics["noise"]))
    params.append(float(current.params["w"][0]))
  assert int(current.step) == 3 and int(current.images_seen) == 24
  assert len(set(noises)) == 3 and len(seen) == 1
  expected = 0.0
  for value in params[1:]:
    expected = 0.5 * expected + 0.5 * value
  np.testing.assert_allclose(current.ema_params["w"], expected, rtol=1e-6)


def test_adam_warms_up_and_clips():
  optimiser = optimizer.adam(
    0.1, warmup_steps=10, betas=(0.0, 0.0), eps=1e-8, clip_norm=1.0
  )
  params = jnp.zeros(1)
  opt_state, sizes = optimiser.init(params), []
  for _ in range(12):
    updates, opt_state = optimiser.update(jnp.ones(1), opt_state, params)
    sizes.append(float(-updates[0]))
  np.testing.assert_allclose(sizes[:10], np.arange(10) / 100, atol=1e-6)
  np.testing.assert_allclose(sizes[10:], 0.1, rtol=1e-4)
  clipped, _ = optax.clip_by_global_norm(1.0).update(
    jnp.array([30.0, 40.0]), optax.EmptyState()
  )
  np.testing.assert_allclose(clipped, [0.6, 0.8], rtol=1e-6)


def test_a_tiny_network_learns_an_image():
  experiment = tiny.experiment(
    devices=jax.devices()[:1], **{"optimizer.warmup_images": 0}
  )
  current = experiment.init()
  image = np.zeros((8, 8, 8, 1), np.uint8)
  image[:, 2:6] = 255
  batch = distributed.global_batch(
    experiment.mesh, Batch(image, np.zeros(8, np.int32))
  )

  def loss():
    losses = experiment.validate(current.params, batch)
    return np.mean([float(value) for value in losses.values()])

  before = loss()
  for _ in range(60):
    current, _ = experiment.step(current, jax.random.key(0), batch)
  assert loss() < 0.5 * before


def test_augmentation_trains_and_its_labels_matter():
  experiment = tiny.experiment(
    devices=jax.devices()[:1],
    **{"data.augment": 0.5, "optimizer.warmup_images": 0},
  )
  current = experiment.init()
  batch = distributed.global_batch(experiment.mesh, tiny.batch())
  mapping = jax.device_get(current.params["backbone"]["mapping"])
  for _ in range(3):
    current, metrics = experiment.step(current, jax.random.key(0), batch)
  assert np.isfinite(metrics["loss"])
  trained = current.params["backbone"]["mapping"]["map_augment"]["kernel"]
  assert (trained != mapping["map_augment"]["kernel"]).any(axis=1).all()
