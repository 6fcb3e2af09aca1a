"""The folder of a run: its own config, and the model of a checkpoint."""

import contextlib

from ml_collections import ConfigDict

from lowdiff_jax import console, files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.experiment import identity
from lowdiff_jax.experiment.errors import naming
from lowdiff_jax.experiment.parts import Experiment, build_experiment
from lowdiff_jax.experiment.trained import Trained
from lowdiff_jax.train.checkpoint import Checkpoints


def read_config(workdir: AnyPath, step: int | None = None) -> ConfigDict | None:
  """The config that a run was trained with.

  Args:
    workdir: of the run.
    step: of the checkpoint; None for the newest.

  Returns:
    The config of the checkpoint; of runs of version 0.1, that of config.json;
    None if nothing has been trained or neither is there.

  Raises:
    UserError: it is damaged, or uses what was removed.
  """
  folder = workdir / "checkpoints"
  if not files.is_folder(folder):
    return None
  with contextlib.closing(Checkpoints(folder, create=False)) as checkpoints:
    if checkpoints.latest_step() is None:
      return None
    step, meta = checkpoints.read(
      step, lambda step: (step, checkpoints.meta(step))
    )
  if "config" in meta:
    with naming(str(folder / str(step))):
      return identity.from_json(meta["config"])
  return identity.read_file(workdir / "config.json")


def load(
  config: ConfigDict, workdir: AnyPath, experiment: Experiment | None = None
) -> Trained:
  """The model of a checkpoint.

  Args:
    config: the config; `sampling.checkpoint` says which.
    workdir: of the run.
    experiment: already built from this config; None builds it from the spec in
      the checkpoint, for which the data set is not needed.

  Returns:
    The model.

  Raises:
    UserError: there is no such checkpoint, or it is not of this config.
  """
  wanted, folder = config.sampling.checkpoint, workdir / "checkpoints"
  with contextlib.closing(Checkpoints(folder, create=False)) as checkpoints:
    return checkpoints.read(
      None if wanted < 0 else wanted,
      lambda step: _load(config, checkpoints, step, experiment),
    )


def _load(
  config: ConfigDict,
  checkpoints: Checkpoints,
  step: int,
  experiment: Experiment | None,
) -> Trained:
  with checkpoints.reading(step):
    meta = checkpoints.meta(step)
    seen = meta.get("images_seen")  # Older checkpoints lack it.
    if not isinstance(seen, int | None):
      raise ValueError(f"images_seen is {seen!r}")
  if experiment is None:
    with checkpoints.reading(step):
      spec, latents = identity.read_spec(meta)
    experiment = build_experiment(config, spec, latents)
  with console.taking(f"checking and loading the checkpoint of step {step}"):
    params = checkpoints.restore_ema(experiment.state_shapes.ema_params, step)
    digest = checkpoints.sha256(step)
  seen = step * experiment.batch_size if seen is None else seen
  return Trained(experiment, params, step, seen, digest)


def load_if_trained(
  config: ConfigDict, workdir: AnyPath, experiment: Experiment
) -> Trained | None:
  """The model of a run; None if it has not trained.

  Args:
    config: the config.
    workdir: of the run.
    experiment: of the config.

  Returns:
    The model.

  Raises:
    UserError: the run was trained with another config, or is damaged.
  """
  if not files.is_folder(workdir / "checkpoints"):
    return None
  trained = read_config(workdir)
  if trained is not None:
    identity.check_same_run(
      config, trained, str(workdir), but="model.init_from"
    )
  return load(config, workdir, experiment)
