"""Configs are read here, and in `modes`, and nowhere below."""

from lowdiff_jax.build.data import Data, open_data
from lowdiff_jax.build.evaluator import make_evaluator
from lowdiff_jax.build.experiment import Experiment, experiment
from lowdiff_jax.build.sampling import baseline_stage, order_stages

__all__ = [
  "Data",
  "Experiment",
  "baseline_stage",
  "experiment",
  "make_evaluator",
  "open_data",
  "order_stages",
]
