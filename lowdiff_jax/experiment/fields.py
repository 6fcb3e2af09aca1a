"""The schema of a config, and the fields of how a trained model is used.

A field's name, default, rule and documentation stand in one place: here, in
run_fields.py (model, data, training) or in stage_fields.py (stages).
"""

from lowdiff_jax.diffusion.cascade import STARTS
from lowdiff_jax.diffusion.sampler import SAMPLERS
from lowdiff_jax.experiment.plan_fields import PLAN_FIELDS
from lowdiff_jax.experiment.rules import (
  batch_size,
  choice,
  flag,
  image_count,
  integer,
  interval,
  level,
  number,
  positive,
  seed,
  sequence,
  steps,
  text,
)
from lowdiff_jax.experiment.run_fields import (
  DIT_FIELDS,
  LATENTS_FIELDS,
  LDM_FIELDS,
  MODEL_FIELDS,
  TRAINING_FIELDS,
  UNET_FIELDS,
)
from lowdiff_jax.experiment.schema import Field, Group, PerStage, Schema
from lowdiff_jax.experiment.stage_fields import STAGE_GROUPS
from lowdiff_jax.schedules.search import GOALS

_SAMPLING = (
  Field(
    "sampling.churn_interval",
    (0.0, 1e6),
    interval,
    "(S_tmin, S_tmax) of EDM's stochastic sampler",
  ),
  Field(
    "sampling.churn_noise", 1.0, positive, "S_noise of EDM's stochastic sampler"
  ),
  Field(
    "sampling.guidance_interval",
    (0.0, 1e6),
    interval,
    "noise levels at which guidance is on",
  ),
  Field("sampling.images", 100, integer(1), "images that mode sample makes"),
  Field(
    "sampling.first_index",
    0,
    integer(0),
    "index of the first image; image = function of (seed, index)",
    formerly="sampling.first",
  ),
  Field("sampling.seed", 0, seed, "seed of the images"),
  Field(
    "sampling.label",
    -1,
    integer(-1),
    "class of all images; -1: all classes in turn",
  ),
  Field("sampling.batch_size", 500, batch_size, "images per batch"),
  Field("sampling.model", "", text, "a trained model; '': the run's own"),
  Field(
    "sampling.checkpoint",
    -1,
    integer(-1),
    "step of the checkpoint; -1: the newest",
  ),
  Field("sampling.gif", False, flag, "whether to write a GIF of the denoising"),
)
_EVALUATION = (
  Field(
    "evaluation.images",
    50_000,
    image_count("none"),
    "generated images to evaluate",
  ),
  Field(
    "evaluation.seed_ranges",
    1,
    integer(1),
    "number of such sets, of disjoint seeds",
  ),
  Field(
    "evaluation.images_during_training",
    2_000,
    image_count("none"),
    "generated images at each evaluation during training",
    formerly="evaluation.images_on_the_way",
  ),
  Field(
    "evaluation.validation_images",
    1_000,
    integer(1),
    "held-out images for the loss",
  ),
  Field(
    "evaluation.input",
    "",
    text,
    "images to evaluate: a folder or .npz; '': generate",
  ),
  Field(
    "evaluation.inception",
    "auto",
    text,
    "Inception weights for FID; auto: if present; none: use own features",
  ),
  Field(
    "evaluation.side",
    299,
    integer(75, 2048),
    "resolution of Inception's input; lower is faster, for rankings",
  ),
  Field(
    "evaluation.reference",
    "",
    text,
    "statistics of real images; '': of the training images",
  ),
  Field(
    "evaluation.references",
    0,
    image_count("all"),
    "most real images to compare with; 0: all",
  ),
  Field(
    "evaluation.batch_size", 64, batch_size, "images per batch of Inception"
  ),
  Field("benchmark.batch_size", 500, batch_size, "images at a time"),
  Field(
    "benchmark.repeats", 5, integer(1), "timed runs, of which the median counts"
  ),
  Field(
    "benchmark.baseline_steps",
    (18, 10),
    sequence(steps),
    "steps of further baselines with the last stage's sampler",
  ),
)
_SEARCH = (
  Field(
    "sweep.sampler",
    ("dpmpp_2m", "heun"),
    sequence(choice(*SAMPLERS), least=1),
    "samplers; all combinations of sweep's fields are evaluated",
  ),
  Field(
    "sweep.steps",
    PerStage(
      lambda k, count: {
        2: ((18, 8), (12, 5), (10, 4), (10, 3), (8, 2)),
        3: ((18, 10, 8), (12, 8, 5), (10, 6, 4), (10, 5, 3), (8, 4, 2)),
      }.get(count, tuple((n,) * count for n in (18, 12, 8)))
    ),
    sequence(sequence(steps), least=1),
    "steps of each stage of the cascade",
  ),
  Field(
    "sweep.guidance_scale",
    (1.0,),
    sequence(number(0), least=1),
    "guidance scales",
  ),
  Field(
    "tune.target",
    "quality",
    choice(*GOALS),
    "the fastest schedule that is as good, or the best that is as fast",
  ),
  Field(
    "tune.factor",
    1.0,
    positive,
    "factor on the distance (quality) or the speed (throughput)",
  ),
  Field(
    "tune.candidates", 24, integer(2, 10_000), "schedules in the first round"
  ),
  Field(
    "tune.images", 1_000, integer(8), "images per schedule in the last round"
  ),
  Field("tune.rounds", 3, integer(1, 30), "rounds of successive halving"),
  Field("upscale.input", "", text, "small images: a file or a folder"),
  Field("report.beside", "", text, "other runs in the report: FOLDER,FOLDER"),
)


def _baseline(
  *, sampler: str, count: int, sigma_max: float, sweep: tuple[int, ...]
) -> tuple[Field, ...]:
  return (
    Field("baseline.sampler", sampler, choice(*SAMPLERS), "solver"),
    Field("baseline.steps", count, steps, "number of steps"),
    Field("baseline.sigma_max", sigma_max, level, "first noise level"),
    Field(
      "sweep.baseline_steps",
      sweep,
      sequence(steps),
      "steps of the baseline",
    ),
  )


_EDM = (
  *_baseline(
    sampler="heun", count=18, sigma_max=80.0, sweep=(18, 12, 10, 8, 6)
  ),
  Field("baseline.sigma_min", 0.002, level, "noise level before the last step"),
  Field("baseline.rho", 7.0, number(0.1, 1000), "exponent of the Karras grid"),
  Field(
    "sweep.start",
    ("handoff", "noise"),
    sequence(choice(*STARTS), least=1),
    "starts of the later stages",
  ),
)
_FLOW = (
  *_baseline(sampler="euler", count=50, sigma_max=1e4, sweep=(50, 25, 12, 8)),
  Field("baseline.shift", 1.0, number(0.001, 1000), "shift of the times"),
  Field(
    "sweep.start",
    ("noise",),
    sequence(choice(*STARTS), least=1),
    "starts of the later stages",
  ),
)

SCHEMA = Schema(
  (
    Group(
      "",
      "",
      (
        *MODEL_FIELDS,
        *TRAINING_FIELDS,
        *_SAMPLING,
        *_EVALUATION,
        *_SEARCH,
        *PLAN_FIELDS,
      ),
    ),
    Group("model.backbone", "unet", UNET_FIELDS),
    Group("model.backbone", "dit", DIT_FIELDS),
    Group("model.precondition", "edm", _EDM),
    Group("model.precondition", "flow", _FLOW),
    Group("data.space", "latents", LATENTS_FIELDS),
    Group("autoencoder.kind", "ldm", LDM_FIELDS),
  ),
  STAGE_GROUPS,
)
