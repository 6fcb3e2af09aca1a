"""Mode evaluate: scores with the whole protocol beside them."""

import json
import platform
from pathlib import Path
from typing import Any

import flax
import jax
from ml_collections import ConfigDict

import lowdiff_jax
from lowdiff_jax import build
from lowdiff_jax.build import Experiment
from lowdiff_jax.interfaces import Evaluator
from lowdiff_jax.modes import trained


def run(config: ConfigDict, workdir: Path) -> None:
  """Scores generated images; writes a file in workdir/scores."""
  experiment, params, step = trained.load(config, workdir)
  evaluator = trained.make_evaluator(experiment, build.open_data(config))
  write_score(workdir, experiment, params, step, evaluator)


def write_score(
  workdir: Path,
  experiment: Experiment,
  params: Any,
  step: int,
  evaluator: Evaluator,
) -> None:
  """The score of `run`, of parameters after `step` steps."""
  config = experiment.config
  count = config.evaluation.images
  score = evaluator(
    trained.images_to_score(experiment, experiment.generate, params, count)
  )
  if jax.process_index() != 0:
    return
  protocol = {
    "images": count,
    "seed": config.sampling.seed,
    "indices": f"0..{count - 1}",
    "labels": "all classes in turn" if experiment.spec.num_classes else "none",
    "rounding": "trunc(clip(127.5 x + 128, 0, 255))",
    "checkpoint": str(workdir / "checkpoints" / str(step)),
    "parameters": f"EMA, half-life {config.ema.half_life_images:g} images",
    "images_trained_on": step * experiment.batch_size,
    "sampling": trained.describe(config, experiment.stages),
    **score.protocol,
    "versions": {
      "lowdiff_jax": lowdiff_jax.__version__,
      "jax": jax.__version__,
      "flax": flax.__version__,
      "python": platform.python_version(),
    },
    "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
  }
  record = {"generated": score.values, "held_out": score.reference}
  folder = workdir / "scores"
  folder.mkdir(exist_ok=True)
  path = folder / f"step_{step:08d}_images_{count}.json"
  path.write_text(json.dumps({**record, "protocol": protocol}, indent=2) + "\n")
  print(f"\n{count} images of step {step}, scored in {path}")
  print(f"{'':24}{'generated':>12}{'held out':>12}")
  for name, value in score.values.items():
    print(f"{name:24}{value:12.4f}{score.reference[name]:12.4f}")
