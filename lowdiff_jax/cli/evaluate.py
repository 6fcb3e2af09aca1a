"""Mode evaluate: metrics, with the whole protocol beside them."""

import hashlib
import json
import platform
from collections.abc import Sequence
from typing import Any, NamedTuple

import flax
import jax
import numpy as np
from ml_collections import ConfigDict

import lowdiff_jax
from lowdiff_jax import files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.data.stored import open_stored
from lowdiff_jax.distributed import is_main
from lowdiff_jax.experiment import identity
from lowdiff_jax.experiment.errors import naming
from lowdiff_jax.experiment.evaluation import make_evaluator
from lowdiff_jax.experiment.image_sets import image_decoder
from lowdiff_jax.experiment.named_models import load_for
from lowdiff_jax.experiment.paths import file_of
from lowdiff_jax.experiment.trained import Trained
from lowdiff_jax.metrics import table
from lowdiff_jax.types import Evaluator, ImageSet, UserError


class Subject(NamedTuple):
  """A set of images to score.

  Attributes:
    name: of its files.
    images: the set.
    protocol: all that the images depend on, as JSON.
  """

  name: str
  images: ImageSet
  protocol: dict[str, Any]


def run(config: ConfigDict, workdir: AnyPath) -> None:
  """Scores generated or given images; writes to workdir/scores.

  An interrupted run resumes.
  """
  if config.evaluation.input:
    evaluator = make_evaluator(config)
    _score_all(workdir, [_stored(config, evaluator)], evaluator)
    return
  if config.evaluation.images == 0:
    raise UserError(
      "config.evaluation.images = 0: no images to score; set how many"
    )
  model = load_for(config, workdir)
  evaluator = make_evaluator(config, parts=model.experiment)
  score_checkpoint(workdir, model, evaluator)


def score_checkpoint(
  workdir: AnyPath, model: Trained, evaluator: Evaluator
) -> None:
  """Scores the images of a model, for each range of seeds."""
  section = model.experiment.config.evaluation
  subjects = [
    _generated(workdir, model, k * section.images)
    for k in range(section.seed_ranges)
  ]
  _score_all(workdir, subjects, evaluator)


def _generated(workdir: AnyPath, model: Trained, first: int) -> Subject:
  """Images first, first + 1, ... of the sampling seed."""
  experiment, step = model.experiment, model.step
  config = experiment.config
  count = config.evaluation.images
  return Subject(
    f"step_{step:08d}_images_{count}" + (f"_from_{first}" if first else ""),
    model.images(count, first),
    {
      "images": count,
      "seed": config.sampling.seed,
      "batch_size": model.batch_size(config.sampling.batch_size, count),
      "indices": f"{first}..{first + count - 1}",
      "labels": (
        "all classes in turn" if experiment.spec.num_classes else "none"
      ),
      "rounding": "trunc(clip(127.5 x + 128, 0, 255))",
      "checkpoint": config.sampling.model
      or str(workdir / "checkpoints" / str(step)),
      "checkpoint_sha256": model.checkpoint_sha256,
      "parameters": f"EMA, half-life {config.ema.half_life_images:g} images",
      "images_trained_on": model.images_seen,
      "sampling": [stage.to_json() for stage in experiment.stages],
    },
  )


def _stored(config: ConfigDict, evaluator: Evaluator) -> Subject:
  """The images of config.evaluation.input."""
  section = config.evaluation
  path = file_of(config, "evaluation.input")
  with naming("config.evaluation.input"):
    stored = open_stored(
      path, section.batch_size, evaluator.shape, image_decoder(config)
    )
    if stored.images.count < 2:
      raise UserError(f"{path} holds one image: metrics need at least 2 images")
  return Subject(
    f"{path.stem}_images_{stored.images.count}",
    stored.images,
    {
      "images": stored.images.count,
      "input": str(files.absolute(path)),
      "input_id": stored.id,
    },
  )


def _score_all(
  workdir: AnyPath, subjects: Sequence[Subject], evaluator: Evaluator
) -> None:
  """Writes a file for each subject, and a summary of several."""
  code = identity.code_version()["sha256"]
  found, folders = {}, []
  for subject in subjects:
    settings = {**subject.protocol, **evaluator.protocol, "code_sha256": code}
    text = json.dumps(settings, indent=2)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    path = workdir / "scores" / f"{subject.name}_{digest}.json"
    folders.append(path.with_suffix(".partial"))
    score = evaluator.score(subject.images, folders[-1], settings)
    if not is_main():
      continue
    record = {
      "generated": score.values,
      "held_out": evaluator.held_out,
      "protocol": {**settings, **score.protocol, **_environment()},
    }
    files.write_json(path, record)
    found[path] = record
    print(f"\n{subject.protocol['images']} images, scored in {path}")
    print(table.of_one(record))
  if not is_main():
    return
  if len(subjects) > 1:
    path = next(iter(found))
    path = path.with_name(f"{path.stem}_and_{len(subjects) - 1}_more.json")
    summary = table.summary(found)
    files.write_json(path, summary)
    print(f"\nof {len(subjects)} ranges of seeds, in {path}")
    print(table.of_summary(summary))
  for folder in folders:
    files.remove_folder(folder)


def _environment() -> dict[str, Any]:
  """Versions and devices, on which a metric should not depend."""
  return {
    "versions": {
      "lowdiff_jax": lowdiff_jax.__version__,
      "jax": jax.__version__,
      "flax": flax.__version__,
      "numpy": np.__version__,
      "python": platform.python_version(),
    },
    "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
  }
