"""Parts and devices change a batch's gradient by rounding alone."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from lowdiff_jax import distributed
from lowdiff_jax.train.gradient import make_gradient
from lowdiff_jax.types import Batch
from tests import tiny

LATENT_BATCHES = {"stages.s8.batch_size": 32, "stages.s16.batch_size": 16}


def metrics_and_gradient(parts, batch):
  """Of the first step; Adam's first moment is a tenth of the gradient."""
  shardings = jax.tree.map(lambda x: x.sharding, parts.state_shapes)
  current = parts.init()._replace(params=tiny.trained_params(parts))
  current = jax.device_put(jax.device_get(current), shardings)
  batch = distributed.global_batch(parts.mesh, batch)
  current, metrics = parts.step(current, jax.random.key(0), batch)
  return jax.device_get((metrics, current.opt_state[1][0].mu))


def assert_same(ours, expected):
  (metrics, gradient), (theirs, other) = ours, expected
  chex.assert_trees_all_close(metrics, theirs, rtol=1e-4)
  chex.assert_trees_all_close(gradient, other, rtol=1e-3, atol=1e-5)


@functools.cache
def of_latents(devices, fsdp, microbatches):
  parts = tiny.latent_experiment(
    devices=jax.devices()[:devices],
    **{
      **LATENT_BATCHES,
      "mesh.fsdp": fsdp,
      "train.microbatches": microbatches,
      "optimizer.betas": (0.9, 0.95),
    },
  )
  rng = np.random.default_rng(0)
  image = rng.normal(size=(32, 16, 16, 4)).astype(np.float16)
  batch = Batch(image, rng.integers(0, 10, 32).astype(np.int32))
  return metrics_and_gradient(parts, batch)


@pytest.mark.parametrize(
  ("devices", "fsdp", "microbatches"), [(1, 1, 4), (8, 1, 2), (8, 2, 2)]
)
def test_parts_and_devices(devices, fsdp, microbatches):
  """Of stages with different batches."""
  ours = of_latents(devices, fsdp, microbatches)
  assert_same(ours, of_latents(1, 1, 1))


def test_parts_and_devices_with_dropout_and_augmentation():
  """What is drawn for an image, masks of dropout too, depends on neither."""

  def outcome(devices, **fields):
    parts = tiny.experiment(
      devices=jax.devices()[:devices],
      **{
        **tiny.stages(batch_size=(32, 16)),
        "data.augment": 0.5,
        "model.dropout": 0.5,
        "optimizer.clip_norm": 1e6,
        **fields,
      },
    )
    return metrics_and_gradient(parts, tiny.batch(32))

  many = outcome(8, **{"mesh.fsdp": 2, "train.microbatches": 2})
  assert_same(many, outcome(1))


@pytest.mark.parametrize(("microbatches", "loops"), [(1, False), (2, True)])
def test_a_whole_batch_is_no_loop(microbatches, loops):
  """XLA for CPUs is slow at the gradients of convolutions inside loops."""

  def loss(params, key, examples):
    del key
    return jnp.mean((examples - params) ** 2), {}

  mesh = distributed.make_mesh(devices=jax.devices()[:2])
  gradient = make_gradient(
    lambda key, batch: batch.image,
    loss,
    mesh,
    P(),
    microbatches=microbatches,
  )
  batch = Batch(jnp.zeros((4, 3)), jnp.zeros(4, jnp.int32))
  lowered = jax.jit(gradient).lower(jnp.zeros(3), jax.random.key(0), batch)
  assert ("stablehlo.while" in lowered.as_text()) == loops
