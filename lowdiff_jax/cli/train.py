"""Mode train: from the newest checkpoint, if any, to samples and metrics."""

from ml_collections import ConfigDict

from lowdiff_jax import locks
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.cli import evaluate, sample
from lowdiff_jax.experiment.evaluation import make_evaluator
from lowdiff_jax.experiment.parts import build_experiment
from lowdiff_jax.experiment.sources import open_data
from lowdiff_jax.experiment.training_run import train


def run(config: ConfigDict, workdir: AnyPath) -> None:
  """Trains; then samples and scores, after others that do so here."""
  data = open_data(config)
  experiment = build_experiment(config, data.train.spec, data.latents)
  section, evaluator = config.evaluation, None
  if section.images or section.images_during_training:
    evaluator = make_evaluator(config, data, experiment)
  model = train(experiment, data, workdir, evaluator)
  with locks.owned(workdir, "sample", wait=True):
    sample.write_images(workdir, model)
  if evaluator is not None and section.images:
    with locks.owned(workdir, "evaluate", wait=True):
      evaluate.score_checkpoint(workdir, model, evaluator)
