"""Checkpoints of a run, and exported models, with a damaged file."""

import contextlib
import functools
import json
import random
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from launch.fuzz.archives import odd_json
from launch.fuzz.damage import damage_file
from launch.fuzz.reader import Reader
from lowdiff_jax.experiment import identity, model_folder, run_folder
from lowdiff_jax.experiment.defaults import pixels, smoke
from lowdiff_jax.experiment.parts import Experiment, build_experiment
from lowdiff_jax.experiment.trained import Trained
from lowdiff_jax.train.checkpoint import Checkpoints
from lowdiff_jax.train.manifest import MANIFEST
from lowdiff_jax.train.state import TrainState
from lowdiff_jax.types import ImageSpec


@functools.cache
def _experiment() -> Experiment:
  config = pixels((4, 8))
  config.model.channel_mult = (1, 1)
  smoke(config)
  # As small as it gets: files are many, and all are summed.
  config.model.channels = 4
  return build_experiment(
    identity.from_json(identity.to_json(config)),
    ImageSpec(8, 1, 0),
    devices=jax.devices()[:1],
  )


def _damage(rng: random.Random, folder: Path) -> None:
  """Damages a file of a folder, or removes a folder in it."""
  paths = sorted(folder.rglob("*"))
  path = rng.choice(paths)
  if path.is_dir():
    if rng.random() < 0.5:
      shutil.rmtree(path)
    else:
      (path / "more").write_bytes(b"x")
    return
  value: Any = None
  if rng.random() < 0.6:
    with contextlib.suppress(ValueError):
      value = json.loads(path.read_text())
  if isinstance(value, dict) and value:
    path.write_text(json.dumps(odd_json(rng, value)))
  else:
    damage_file(rng, path, [p for p in paths if p.is_file()])


class Run(Reader):
  """The checkpoint of a run."""

  name = "checkpoint"
  share = 0.1

  def __init__(self, seeds: Path) -> None:
    super().__init__(seeds)
    self._experiment = _experiment()
    state: TrainState = jax.tree.map(
      lambda x: jnp.zeros(x.shape, x.dtype), self._experiment.state_shapes
    )
    # Only what sampling reads; the rest is summed and read the same way.
    state = state._replace(
      step=jnp.asarray(3, jnp.int32), params=state.ema_params, opt_state=()
    )
    checkpoints = Checkpoints(seeds / "checkpoints")
    checkpoints.save(state, self._experiment.meta())
    checkpoints.close()

  def make(self, rng: random.Random, folder: Path) -> Path:
    """A run's folder with a damaged checkpoint, with or without its sums."""
    root = folder / "run"
    shutil.copytree(self.seeds / "checkpoints", root / "checkpoints")
    step = root / "checkpoints" / "3"
    if rng.random() < 0.5:
      (step / MANIFEST).unlink()
    elif rng.random() < 0.2:
      damage_file(rng, step / MANIFEST)
      return root
    _damage(rng, step)
    return root

  def read(self, candidate: Path) -> None:
    """Reads its config and its weights."""
    config = run_folder.read_config(candidate)
    if config is None:
      return
    model = run_folder.load(config, candidate, self._experiment)
    shapes = self._experiment.state_shapes.ema_params
    assert jax.tree.map(jnp.shape, model.params) == jax.tree.map(
      jnp.shape, shapes
    )
    assert isinstance(model.images_seen, int)


class Export(Reader):
  """The folder of an exported model."""

  name = "model_folder"
  share = 0.02

  def __init__(self, seeds: Path) -> None:
    super().__init__(seeds)
    experiment = _experiment()
    params = jax.tree.map(
      lambda x: np.zeros(x.shape, x.dtype), experiment.state_shapes.ema_params
    )
    model_folder.write(Trained(experiment, params, 3, 24), seeds / "model")

  def make(self, rng: random.Random, folder: Path) -> Path:
    """A folder with a damaged file."""
    root = folder / "model"
    shutil.copytree(self.seeds / "model", root)
    path = root / rng.choice((model_folder.CONFIG, model_folder.WEIGHTS))
    if path.suffix == ".json" and rng.random() < 0.7:
      record = json.loads(path.read_text())
      path.write_text(json.dumps(odd_json(rng, record)))
    else:
      damage_file(rng, path, sorted((self.seeds / "model").iterdir()))
    return root

  def read(self, candidate: Path) -> None:
    """Reads the config and the model."""
    model = model_folder.read(candidate, model_folder.read_config(candidate))
    assert isinstance(model.step, int) and isinstance(model.images_seen, int)


READERS: tuple[type[Reader], ...] = (Run, Export)
