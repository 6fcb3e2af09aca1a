"""From a config to the parts of an experiment: fields, checks, builders."""

from lowdiff_jax.experiment.evaluation import make_evaluator
from lowdiff_jax.experiment.experiment import Experiment, build_experiment
from lowdiff_jax.experiment.sampling import baseline_stage, order_stages
from lowdiff_jax.experiment.sources import Data, open_data

__all__ = [
  "Data",
  "Experiment",
  "baseline_stage",
  "build_experiment",
  "make_evaluator",
  "open_data",
  "order_stages",
]
