"""Mode benchmark: the cascade against the same network at one resolution."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from lowdiff_jax import files
from lowdiff_jax.cli import train
from lowdiff_jax.diffusion.cascade import Stage
from lowdiff_jax.distributed import is_main
from lowdiff_jax.experiment import (
  Data,
  Experiment,
  baseline_stage,
  build_experiment,
  make_evaluator,
  open_data,
  order_stages,
  trained,
)
from lowdiff_jax.models.dit import REMAT
from lowdiff_jax.profiling import flops, throughput
from lowdiff_jax.train.checkpoint import Checkpoints
from lowdiff_jax.types import ImageSource


def run(config: ConfigDict, workdir: Path) -> None:
  """Times and scores both; prints a table, writes workdir/benchmark.json.

  The baseline is looked for in <workdir>-baseline, where the config's argument
  `baseline` trains it. What is not trained is timed, and not scored.
  """
  data = open_data(config)
  cascade, single = (
    build_experiment(_with_cascade(config, yes), data.train.spec, data.latents)
    for yes in (True, False)
  )
  count = config.evaluation.images
  evaluator = make_evaluator(config, data, cascade) if count else None
  cascade_params = _params(cascade, workdir)
  single_params = _params(single, workdir.with_name(f"{workdir.name}-baseline"))
  own = _sampler_of_baseline(config)
  entries = [
    ("cascade", cascade, cascade.stages, cascade_params),
  ]
  plain = [baseline_stage(config)]
  for steps in config.benchmark.baseline_steps:
    plain.append(baseline_stage(config, own, steps))
  ways = [(stage,) for stage in plain]
  if order := order_stages(config):
    ways.append(order)
  for stages in ways:
    entries.append((_name(stages), single, stages, single_params))
  candidates = [
    throughput.Candidate(
      name,
      stages,
      experiment.generator(stages),
      experiment.bind,
      experiment.init().params if params is None else params,
      experiment.codec.decode,
    )
    for name, experiment, stages, params in entries
  ]
  peak = flops.peak(config.model.dtype)
  rows = throughput.benchmark(
    candidates,
    batch_size=trained.batch_size(config.benchmark.batch_size),
    repeats=config.benchmark.repeats,
    channels=data.train.spec.channels,
    peak=peak.flops,
  )
  training = [
    _time_training(experiment, data.train, peak.flops)
    for experiment in _remats(cascade, data)
  ]
  decoding = _time_decoding(cascade)
  for row, candidate, entry in zip(rows, candidates, entries, strict=True):
    _, experiment, stages, params = entry
    row["sampling"] = trained.describe(config, stages)
    row["scores"] = None
    if evaluator and params is not None:
      images = trained.pictures(experiment, candidate.generate, params, count)
      row["scores"] = evaluator.score(images).values
  if is_main():
    _report(config, workdir, rows, training, decoding, peak)


def _name(stages: Sequence[Stage]) -> str:
  steps = "+".join(str(len(stage.sigmas) - 1) for stage in stages)
  what = "baseline"
  if len(stages) > 1:
    what = "-".join(str(stage.resolution) for stage in stages)
  return f"{what}, {steps} steps of {stages[0].sampler.__name__}"


def _sampler_of_baseline(config: ConfigDict) -> str:
  """The last stage's that is not for consistency, which it is not tuned for."""
  fitting = [name for name in config.sampling.sampler if name != "consistency"]
  return fitting[-1] if fitting else config.baseline.sampler


def _with_cascade(config: ConfigDict, cascade: bool) -> ConfigDict:
  config = config.copy_and_resolve_references()
  config.cascade = cascade
  # Weights of one would not fit the other, and time does not depend on them.
  config.model.init_from = ""
  return config


def _remats(experiment: Experiment, data: Data) -> list[Experiment]:
  """The experiment by each policy of what is computed again, if it has one."""
  config = experiment.config
  if config.model.backbone != "dit":
    return [experiment]
  experiments = []
  for policy in REMAT:
    config = config.copy_and_resolve_references()
    config.model.remat = policy
    experiments.append(build_experiment(config, data.train.spec, data.latents))
  return experiments


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
  """Speed and memory of a training step, and how much of `peak` it uses."""
  state = experiment.init()
  section = experiment.config.stages
  # Going back through a layer takes twice what going forward did; the target of
  # consistency is one more way forward.
  cost = sum(
    images
    * (4 if consistency else 3)
    * throughput.evaluation_cost(
      experiment.bind, state.params, side, experiment.spec.channels, k > 0
    )
    for k, (side, images, consistency) in enumerate(
      zip(section.resolutions, section.images, section.consistency, strict=True)
    )
  )
  gflop = 2 * cost / experiment.batch_size / 1e9
  row = throughput.time_training(
    experiment.step,
    state,
    jax.random.key(experiment.config.seed),
    next(train.device_batches(experiment, source, 0)),
    repeats=experiment.config.benchmark.repeats,
  )
  used = row["images_per_second"] * gflop * 1e9 / peak
  return {
    "remat": experiment.config.model.to_dict().get("remat"),
    **row,
    "gflop_per_image": gflop,
    "model_flops_utilisation": used,
  }


def _time_decoding(experiment: Experiment) -> float:
  """Images/s of the codec's decoding at the top resolution."""
  config, spec = experiment.config, experiment.spec
  size = trained.batch_size(config.benchmark.batch_size)
  images = jnp.zeros((size, spec.resolution, spec.resolution, spec.channels))
  return throughput.time_decoding(
    experiment.codec.decode, images, repeats=config.benchmark.repeats
  )


def _report(
  config: ConfigDict,
  workdir: Path,
  rows: list[dict],
  training: list[dict[str, Any]],
  decoding: float,
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
    "decoded_images_per_second": decoding,
  }
  path = workdir / "benchmark.json"
  files.write_json(path, record)
  print(throughput.table(rows))
  for row in training:
    remat = f" with remat={row['remat']}" if row["remat"] else ""
    print(
      f"a training step of the cascade{remat}: "
      f"{row['images_per_second']:.1f} images/s, "
      f"{100 * row['model_flops_utilisation']:.2f} % MFU, "
      f"{row['peak_memory_bytes'] / 2**20:.1f} MiB, of these activations "
      f"{row['temporary_memory_bytes'] / 2**20:.1f}"
    )
  print(f"decoding alone: {decoding:.1f} images/s")
  print(f"MFU: of {peak.flops / 1e12:.3g} TFLOP/s, {peak.name}")
  print(f"in full: {path}")
