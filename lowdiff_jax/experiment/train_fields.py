"""Fields of how long training goes on, and what it saves and says."""

from lowdiff_jax.experiment.rules import (
  choice,
  flag,
  integer,
  number,
  positive,
  step_range,
)
from lowdiff_jax.experiment.schema import Field

# Images that were seen are counted in 32 bits.
_MOST = 4e9

TRAIN_FIELDS = (
  Field(
    "train.images", 200_000_000, number(1, _MOST), "images to train on in total"
  ),
  Field(
    "train.microbatches", 1, integer(1), "parts of a batch, to save memory"
  ),
  Field("train.log_images", 51_200, positive, "images between logs"),
  Field(
    "train.evaluate_images", 5_120_000, positive, "images between evaluations"
  ),
  Field(
    "train.checkpoint_images", 2_560_000, positive, "images between checkpoints"
  ),
  Field(
    "train.checkpoint_minutes",
    0,
    number(0),
    "also save at the first log after so many minutes; 0: never",
  ),
  Field(
    "train.keep_checkpoints", 2, integer(1), "number of newest ones to keep"
  ),
  Field(
    "train.keep_every_images",
    0,
    number(0, _MOST),
    "images between checkpoints that are kept for good; 0: none",
  ),
  Field(
    "train.keep_best",
    False,
    flag,
    "save at each evaluation, and keep the one with the least distance",
  ),
  Field(
    "train.non_finite",
    "stop",
    choice("stop", "skip"),
    "whether a step with an infinite loss or gradient ends the run",
  ),
  Field(
    "train.stall_minutes",
    30,
    number(0),
    "without a step (evaluating: ten times that) until it ends; 0: never",
  ),
  Field("train.grace_seconds", 300.0, positive, "from SIGTERM to the end"),
  Field(
    "train.profile",
    (0, 0),
    step_range,
    "(first, last) step to trace with JAX's profiler; (0, 0): none",
  ),
)
