"""The number of processes and of their devices does not change a training."""

import numpy as np

from tests import many_processes

# Trains a factor of the noisy images on all devices, and prints it in hex.
PROGRAM = """
import sys
import jax, jax.numpy as jnp, optax
from absl import flags
from jax.sharding import PartitionSpec as P
from lowdiff_jax import distributed
from lowdiff_jax.cli import processes
from lowdiff_jax.data import pipeline
from lowdiff_jax.train import state
from lowdiff_jax.train.gradient import make_gradient
from lowdiff_jax.train.step import make_train_step
from tests.data.latent_writer import SPLITS

flags.FLAGS(sys.argv)
processes.start(training=True)

def draw(key, batch):
  image = batch.image / 128.0 - 1.0
  return image, image + jax.random.normal(key, image.shape)

def loss(params, key, examples):
  image, noisy = examples
  error = jnp.mean((params["w"] * noisy - image) ** 2)
  return error, {"loss": error}

mesh, optimizer = distributed.make_mesh(), optax.adam(0.1)
gradient = make_gradient(draw, loss, mesh, {"w": P()})
step = jax.jit(
  make_train_step(gradient, optimizer, ema_half_life=8.0, ema_ramp=1.0)
)
current = jax.device_put(
  state.create({"w": jnp.zeros(3)}, optimizer), distributed.replicated(mesh)
)
batches = pipeline.batches(
  SPLITS["train"], batch_size=8, seed=0, start=0,
  process_index=jax.process_index(), process_count=jax.process_count(),
)
for _ in range(4):
  batch = distributed.global_batch(mesh, next(batches))
  current, _ = step(current, jax.random.key(0), batch)
found = jax.device_get((current.params, current.ema_params))
print("found", *(float(x).hex() for tree in found for x in tree["w"]))
"""


def found(count, devices):
  """What all processes have found."""
  commands = many_processes.python(*[PROGRAM] * count)
  done = many_processes.results(many_processes.start(commands, devices=devices))
  lines = set()
  for status, printed, errors in done:
    assert status == 0, errors
    (line,) = [x for x in printed.splitlines() if x.startswith("found ")]
    lines.add(line)
  (line,) = lines
  return [float.fromhex(number) for number in line.split()[1:]]


def test_devices_of_several_processes_are_those_of_one_to_rounding():
  """Between processes the gradients are summed in another order."""
  one = found(1, 4)
  for count, devices in ((2, 2), (4, 1)):
    np.testing.assert_allclose(found(count, devices), one, rtol=1e-5)
