"""A program that tries every kind of write on a full disk.

python -m tests.disk_writers FOLDER prints "ready", waits for a line, and prints
what each write said, as JSON.
"""

import json
import os
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import optax

from lowdiff_jax import files, locks
from lowdiff_jax.cli import faults
from lowdiff_jax.data.latents.writer import write_latents
from lowdiff_jax.experiment import model_folder
from lowdiff_jax.experiment.trained import Trained
from lowdiff_jax.generate import grids
from lowdiff_jax.metrics.features import collect
from lowdiff_jax.schedules import pareto
from lowdiff_jax.train import state
from lowdiff_jax.train.checkpoint import Checkpoints
from lowdiff_jax.train.writer import MetricWriter
from lowdiff_jax.types import Batch, ImageSet
from tests import tiny
from tests.data import latent_writer

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
OLD = "what was there before"
# Files that are to be written again.
MISSING = (
  "features/00000000.npz",
  "latents/train-00000-of-00004.array_record",
)


def features(folder):
  def read(start):
    yield Batch(IMAGES[start:], np.zeros(4, np.int32))

  def extract(images):
    return {"pool": images.reshape(4, -1).astype(np.float32)}

  collect(ImageSet(4, 4, read), extract, folder, {"of": "noise"})


def latents(folder):
  write_latents(
    latent_writer.SPLITS,
    latent_writer.encode,
    folder,
    **latent_writer.SETTINGS,
  )


def save_checkpoint(checkpoints):
  params = {"w": jnp.arange(50_000.0)}
  checkpoints.save(state.create(params, optax.identity()), {"spec": "none"})
  checkpoints.close()


def lock(folder):
  with locks.owned(folder, "train"):
    pass


def draw(path):
  point = pareto.Point("a", "b", 1.0, 1.0, None)
  pareto.draw([point], path, title="t", metric="m")


def prepare(folder):
  """What is open or there before the disk is full; the writes by name."""
  (folder / "old.json").write_text(OLD)
  features(folder / "features")
  latents(folder / "latents")
  for name in MISSING:
    (folder / name).unlink()
  writer = MetricWriter(folder)
  checkpoints = Checkpoints(folder / "checkpoints")
  experiment = tiny.experiment()
  model = Trained(experiment, experiment.init().params, 1, 8)
  many = {f"metric_{i}": 0.0 for i in range(300)}
  return {
    "metrics": lambda: writer.write_scalars(1, many),
    "text": lambda: files.write_json(folder / "old.json", "new" * 9999),
    "png": lambda: grids.write_png(folder / "a.png", IMAGES[0]),
    "gif": lambda: grids.write_gif(folder / "a.gif", IMAGES[None, None], 1),
    "figure": lambda: draw(folder / "a.figure.png"),
    "features": lambda: features(folder / "features"),
    "model": lambda: model_folder.write(model, folder / "model"),
    "latents": lambda: latents(folder / "latents"),
    "checkpoint": lambda: save_checkpoint(checkpoints),
    "lock": lambda: lock(folder),
  }


def main(folder):
  folder = Path(folder)
  faults.quiet_libraries()
  writes, said = prepare(folder), {}
  print("ready", flush=True)
  sys.stdin.readline()
  for name, write in writes.items():
    try:
      write()
      said[name] = "nothing"
    except files.DiskError as error:
      said[name] = str(error)
    except Exception as error:
      said[name] = repr(error)
  print(json.dumps(said), flush=True)
  os._exit(0)  # As the program ends after such a fault.


if __name__ == "__main__":
  main(sys.argv[1])
