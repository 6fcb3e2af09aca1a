"""A process of two that restore a run's newest checkpoint that is whole.

python -m tests.train.restore_together FOLDER PORT INDEX saves steps 4 and 8,
damages the latter, restores, saves step 8 again, and prints what was restored.
"""

import sys
from pathlib import Path

import jax
import numpy as np
import optax

from lowdiff_jax import distributed
from lowdiff_jax.train import state
from lowdiff_jax.train.checkpoint import Checkpoints
from lowdiff_jax.train.manifest import MANIFEST


def main(folder, port, index):
  jax.distributed.initialize(f"127.0.0.1:{port}", 2, int(index))
  mesh = distributed.make_mesh(fsdp=2)
  shapes = jax.eval_shape(
    lambda: state.create({"w": np.zeros((64, 128), np.float32)}, optax.adam(1))
  )
  target = jax.tree.map(
    lambda leaf, where: leaf.update(sharding=where),
    shapes,
    distributed.state_shardings(mesh, shapes),
  )

  def of(step):
    def part(leaf):
      return jax.make_array_from_callback(
        leaf.shape,
        leaf.sharding,
        lambda index: np.full(leaf.shape, step, leaf.dtype)[index],
      )

    return jax.tree.map(part, target)

  checkpoints = Checkpoints(Path(folder))
  for step in (4, 8):
    checkpoints.save(of(step), {})
  checkpoints.close()
  if distributed.is_main():
    (Path(folder) / "8" / MANIFEST).write_text('{"ema/_METADATA": "0"}')
  distributed.barrier("damaged")
  checkpoints = Checkpoints(Path(folder))
  restored = checkpoints.restore(target)
  (shard,) = restored.params["w"].addressable_shards
  print("restored", int(restored.step), shard.data.shape, shard.data.max())
  checkpoints.save(of(8), {})
  checkpoints.close()
  print("then", int(Checkpoints(Path(folder)).restore(target).step))


if __name__ == "__main__":
  main(*sys.argv[1:])
