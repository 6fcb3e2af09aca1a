"""Mode benchmark: the cascade against the same network at one resolution."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from lowdiff_jax import console, files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.data.splits import Data
from lowdiff_jax.diffusion.cascade import Stage
from lowdiff_jax.distributed import is_main
from lowdiff_jax.experiment import identity, named_models, speeds
from lowdiff_jax.experiment.cost import training_macs
from lowdiff_jax.experiment.evaluation import make_evaluator
from lowdiff_jax.experiment.parts import Experiment, build_experiment
from lowdiff_jax.experiment.run_folder import load_if_trained
from lowdiff_jax.experiment.sampling import baseline_stage
from lowdiff_jax.experiment.schema import stage_sections
from lowdiff_jax.experiment.sources import open_data
from lowdiff_jax.experiment.trained import Trained
from lowdiff_jax.experiment.training import check_batches
from lowdiff_jax.experiment.training_run import device_batches
from lowdiff_jax.models.dit import REMAT
from lowdiff_jax.profiling import flops, throughput


class Entry(NamedTuple):
  """A row of the table: stages of a model, which may not be trained."""

  model: Trained
  stages: Sequence[Stage]
  is_trained: bool


def run(config: ConfigDict, workdir: AnyPath) -> None:
  """Times and scores both; prints a table, writes workdir/benchmark.json.

  The baseline is looked for in <workdir>-baseline, where the config's argument
  `baseline` trains it, or is that of `sampling.model`. What is not trained is
  timed, and not scored.
  """
  data = open_data(config)
  cascade, single = (
    build_experiment(_with_cascade(config, yes), data.train.spec, data.latents)
    for yes in (True, False)
  )
  count = config.evaluation.images
  evaluator = make_evaluator(config, data, cascade) if count else None
  entries = _entries(cascade, single, workdir)
  peak = flops.peak(config.model.dtype)
  batch_size = entries[0].model.batch_size(config.benchmark.batch_size)
  ways = [(entry.model, entry.stages) for entry in entries]
  rows = speeds.compare(ways, peak.flops)
  training = [
    _time_training(experiment, data, peak.flops)
    for experiment in _remats(cascade, data)
  ]
  decoding = _time_decoding(cascade, batch_size)
  for row, entry in zip(rows, entries, strict=True):
    row["sampling"] = [stage.to_json() for stage in entry.stages]
    row["scores"] = None
    if evaluator and entry.is_trained:
      images = entry.model.images(count, stages=tuple(entry.stages))
      row["scores"] = evaluator.score(images).values
  if is_main():
    record = {
      "batch_size": batch_size,
      "repeats": config.benchmark.repeats,
      "images_scored": config.evaluation.images,
      "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
      "jax": jax.__version__,
      "peak_flops": peak.flops,
      "peak_is": peak.name,
      "rows": rows,
      "training": training,
      "decoded_images_per_second": decoding,
    }
    _report(record, workdir / "benchmark.json")


def _entries(
  cascade: Experiment, single: Experiment, workdir: AnyPath
) -> list[Entry]:
  """The cascade, the baseline, and further baselines of other steps."""
  config = cascade.config
  last = stage_sections(config)[-1].sampler
  found = []
  for experiment, folder, ways in (
    (cascade, workdir, [cascade.stages]),
    (
      single,
      workdir.with_name(f"{workdir.name}-baseline"),
      [
        single.stages,
        *(
          (baseline_stage(config, last, steps),)
          for steps in config.benchmark.baseline_steps
        ),
      ],
    ),
  ):
    trained = _trained(experiment, folder)
    model = trained or Trained(experiment, experiment.init().params, 0, 0)
    found += [Entry(model, stages, trained is not None) for stages in ways]
  return found


def _trained(experiment: Experiment, workdir: AnyPath) -> Trained | None:
  """The model of `sampling.model`, or of a run; None if it has not trained."""
  config = experiment.config
  model = config.sampling.model
  if not model:
    return load_if_trained(config, workdir, experiment)
  own = named_models.read_config(model)
  identity.check_same_run(config, own, model, but="model.init_from")
  return named_models.load(model, config)._replace(experiment=experiment)


def _with_cascade(config: ConfigDict, cascade: bool) -> ConfigDict:
  config = config.copy_and_resolve_references()
  if config.cascade != cascade:
    config.cascade = cascade
    config.sampling.checkpoint = -1
    if config.sampling.model:
      return _beside(config)
  # Weights of one would not fit the other, and time does not depend on them.
  config.model.init_from = ""
  return config


def _beside(config: ConfigDict) -> ConfigDict:
  """The baseline's own config, and so its own schedule."""
  model = named_models.beside(config.sampling.model)
  if model is None:
    config.sampling.model = ""
    return config
  own = named_models.read_config(model)
  for section in ("data", "baseline", "benchmark", "sampling", "evaluation"):
    own[section] = config[section]
  own.sampling.model = model
  return own


def _remats(experiment: Experiment, data: Data) -> list[Experiment]:
  """The experiment with each policy of recomputation, if it has one."""
  config = experiment.config
  if config.model.backbone != "dit":
    return [experiment]
  experiments = []
  for policy in REMAT:
    config = config.copy_and_resolve_references()
    config.model.remat = policy
    experiments.append(build_experiment(config, data.train.spec, data.latents))
  return experiments


@console.taking("timing the training step")
def _time_training(
  experiment: Experiment, data: Data, peak: float
) -> dict[str, Any]:
  """Speed and memory of a training step, and how much of `peak` it uses."""
  check_batches(experiment.config, experiment.mesh)
  config = experiment.config
  gflop = 2 * training_macs(experiment) / experiment.batch_size / 1e9
  row = throughput.time_training(
    experiment.step,
    experiment.init(),
    jax.random.key(config.seed),
    next(device_batches(experiment, data.train, 0)),
    repeats=config.benchmark.repeats,
  )
  used = row["images_per_second"] * gflop * 1e9 / peak
  return {
    "remat": config.model.get("remat"),
    **row,
    "gflop_per_image": gflop,
    "model_flops_utilisation": used,
  }


@console.taking("timing the decoder")
def _time_decoding(experiment: Experiment, batch_size: int) -> float:
  """Images/s of the codec's decoding at the top resolution."""
  spec = experiment.spec
  shape = (batch_size, spec.resolution, spec.resolution, spec.channels)
  return throughput.time_decoding(
    experiment.codec.decode,
    jnp.zeros(shape),
    repeats=experiment.config.benchmark.repeats,
  )


def _report(record: dict[str, Any], path: AnyPath) -> None:
  files.write_json(path, record)
  print(throughput.table(record["rows"]))
  for row in record["training"]:
    remat = f" with remat={row['remat']}" if row["remat"] else ""
    print(
      f"a training step of the cascade{remat}: "
      f"{row['images_per_second']:.1f} images/s, "
      f"{100 * row['model_flops_utilisation']:.2f} % MFU, "
      f"{row['peak_memory_bytes'] / 2**20:.1f} MiB, of these activations "
      f"{row['temporary_memory_bytes'] / 2**20:.1f}"
    )
  print(f"decoding alone: {record['decoded_images_per_second']:,.1f} images/s")
  print(
    f"MFU: of {record['peak_flops'] / 1e12:.3g} TFLOP/s, {record['peak_is']}"
  )
  print(f"in full: {path}")
