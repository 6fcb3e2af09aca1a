"""Mode benchmark: the cascade against the same network at one resolution."""

import json
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from lowdiff_jax import build
from lowdiff_jax.build import Experiment
from lowdiff_jax.diffusion.cascade import Stage
from lowdiff_jax.evaluate import flops, throughput
from lowdiff_jax.interfaces import ImageSource
from lowdiff_jax.modes import train, trained
from lowdiff_jax.train.checkpoint import Checkpoints


def run(config: ConfigDict, workdir: Path) -> None:
  """Times and scores both; prints a table, writes workdir/benchmark.json.

  The baseline is looked for in <workdir>-baseline, where the config's argument
  `baseline` trains it. What is not trained is timed, and not scored.
  """
  data = build.open_data(config)
  score = trained.make_evaluator(data)
  cascade = build.experiment(_with_cascade(config, True), data[0].spec)
  single = build.experiment(_with_cascade(config, False), data[0].spec)
  cascade_params = _params(cascade, workdir)
  single_params = _params(single, workdir.with_name(f"{workdir.name}-baseline"))
  own = cascade.stages[-1].sampler.__name__
  entries = [
    ("cascade", cascade, cascade.stages, cascade_params),
    (_name(single.stages[0]), single, single.stages, single_params),
  ]
  for steps in config.benchmark.baseline_steps:
    stage = build.baseline_stage(config, own, steps)
    entries.append((_name(stage), single, (stage,), single_params))
  candidates = [
    throughput.Candidate(
      name,
      stages,
      experiment.generator(stages),
      experiment.bind,
      experiment.init().params if params is None else params,
    )
    for name, experiment, stages, params in entries
  ]
  peak = flops.peak(config.model.dtype)
  rows = throughput.benchmark(
    candidates,
    batch_size=trained.batch_size(config.benchmark.batch_size),
    repeats=config.benchmark.repeats,
    channels=data[0].spec.channels,
    peak=peak.flops,
  )
  training = _time_training(cascade, data[0], peak.flops)
  count = config.evaluation.images
  for row, candidate, entry in zip(rows, candidates, entries, strict=True):
    _, experiment, stages, params = entry
    row["sampling"] = trained.describe(config, stages)
    row["scores"] = None
    if params is not None:
      images = trained.images_to_score(
        experiment, candidate.generate, params, count
      )
      row["scores"] = score(images).values
  if jax.process_index() == 0:
    _report(config, workdir, rows, training, peak)


def _name(stage: Stage) -> str:
  steps = len(stage.sigmas) - 1
  return f"baseline, {steps} steps of {stage.sampler.__name__}"


def _with_cascade(config: ConfigDict, cascade: bool) -> ConfigDict:
  config = config.copy_and_resolve_references()
  config.cascade = cascade
  return config


def _params(experiment: Experiment, workdir: Path) -> Any:
  """The averaged parameters of a run; None if it has not trained."""
  folder = workdir / "checkpoints"
  if not folder.is_dir():
    return None
  checkpoints = Checkpoints(folder, create=False)
  params = checkpoints.restore_ema(experiment.state_shapes.ema_params)
  checkpoints.close()
  return params


def _time_training(
  experiment: Experiment, source: ImageSource, peak: float
) -> dict[str, Any]:
  """Speed of the cascade's training step and how much of `peak` it uses."""
  state = experiment.init()
  section = experiment.config.stages
  forward = sum(
    images
    * throughput.evaluation_cost(
      experiment.bind, state.params, side, experiment.spec.channels, k > 0
    )
    for k, (side, images) in enumerate(
      zip(section.resolutions, section.images, strict=True)
    )
  )
  # Going back through a layer takes twice what going forward did.
  gflop = 3 * 2 * forward / experiment.batch_size / 1e9
  row = throughput.time_training(
    experiment.step,
    state,
    jax.random.key(experiment.config.seed),
    next(train.device_batches(experiment, source, 0)),
    repeats=experiment.config.benchmark.repeats,
  )
  used = row["images_per_second"] * gflop * 1e9 / peak
  return {**row, "gflop_per_image": gflop, "model_flops_utilisation": used}


def _report(
  config: ConfigDict,
  workdir: Path,
  rows: list[dict],
  training: dict[str, Any],
  peak: flops.Peak,
) -> None:
  record = {
    "batch_size": trained.batch_size(config.benchmark.batch_size),
    "repeats": config.benchmark.repeats,
    "images_scored": config.evaluation.images,
    "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    "jax": jax.__version__,
    "peak_flops": peak.flops,
    "peak_is": peak.name,
    "rows": rows,
    "training": training,
  }
  path = workdir / "benchmark.json"
  path.write_text(json.dumps(record, indent=2) + "\n")
  print(throughput.table(rows))
  print(
    f"a training step of the cascade: {training['images_per_second']:.1f} "
    f"images/s, {100 * training['model_flops_utilisation']:.2f} % MFU, "
    f"{training['peak_memory_bytes'] / 2**20:.1f} MiB"
  )
  print(f"MFU: of {peak.flops / 1e12:.3g} TFLOP/s, {peak.name}")
  print(f"in full: {path}")
