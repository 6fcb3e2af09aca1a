"""Mode benchmark: the cascade against the same network at one resolution."""

import json
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from lowdiff_jax import build
from lowdiff_jax.build import Experiment
from lowdiff_jax.diffusion.cascade import Stage
from lowdiff_jax.evaluate import throughput
from lowdiff_jax.modes import trained
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
  rows = throughput.benchmark(
    candidates,
    batch_size=trained.batch_size(config.benchmark.batch_size),
    repeats=config.benchmark.repeats,
    channels=data[0].spec.channels,
  )
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
    _report(config, workdir, rows)


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


def _report(config: ConfigDict, workdir: Path, rows: list[dict]) -> None:
  record = {
    "batch_size": trained.batch_size(config.benchmark.batch_size),
    "repeats": config.benchmark.repeats,
    "images_scored": config.evaluation.images,
    "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    "jax": jax.__version__,
    "rows": rows,
  }
  path = workdir / "benchmark.json"
  path.write_text(json.dumps(record, indent=2) + "\n")
  print(throughput.table(rows))
  print(f"in full: {path}")
