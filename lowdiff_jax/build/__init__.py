"""Configs are read here, and in `modes`, and nowhere below."""

from lowdiff_jax.build.experiment import Experiment, experiment, open_data
from lowdiff_jax.build.sampling import baseline_stage

__all__ = ["Experiment", "baseline_stage", "experiment", "open_data"]
