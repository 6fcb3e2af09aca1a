"""Every field of a stage: `config.stages.s32` is the stage of 32x32 images."""

from typing import Any

from lowdiff_jax.diffusion.cascade import STARTS
from lowdiff_jax.diffusion.sampler import SAMPLERS
from lowdiff_jax.experiment.rules import (
  batch_size,
  choice,
  level,
  number,
  steps,
)
from lowdiff_jax.experiment.schema import Field, Group, PerStage
from lowdiff_jax.models.unified import TARGETS


def _later(first: Any, others: Any) -> PerStage:
  """A default of the first stage and another of those with a condition."""
  return PerStage(lambda k, count: others if k else first)


def _by_position(first: Any, middle: Any, last: Any) -> PerStage:
  """A default of the first stage, of those between and of the last."""

  def value(k: int, count: int) -> Any:
    if k == 0:
      return first(count) if callable(first) else first
    return last if k == count - 1 else middle

  return PerStage(value)


_TRAINING = (
  Field(
    "batch_size",
    256,
    batch_size,
    "images of each batch that train this stage",
    trained=True,
    formerly="stages.images",
  ),
  Field(
    "loss_scale",
    1.0,
    number(0),
    "weight of the stage in the loss",
    trained=True,
    formerly="stages.loss_scale",
  ),
  Field(
    "min_low_res_sigma",
    0.0,
    number(0, 1e6),
    "least std of the condition's noise in training",
    trained=True,
    formerly="stages.min_low_res_sigma",
  ),
  Field(
    "max_low_res_sigma",
    _later(0.0, 0.2),
    number(0, 1e6),
    "largest std of the condition's noise in training",
    trained=True,
    formerly="stages.max_low_res_sigma",
  ),
  Field(
    "target",
    "image",
    choice(*TARGETS),
    "what is denoised: the image, or its residual to the condition",
    trained=True,
    formerly="stages.target",
  ),
)
_SAMPLING = (
  Field(
    "sampler",
    "dpmpp_2m",
    choice(*SAMPLERS),
    "solver",
    formerly="sampling.sampler",
  ),
  Field(
    "steps",
    _by_position(18, 10, 8),
    steps,
    "number of steps",
    formerly="sampling.steps",
  ),
  Field(
    "low_res_sigma",
    _later(0.0, 0.05),
    number(0, 1e6),
    "std of the condition's noise in sampling",
    formerly="sampling.low_res_sigma",
  ),
  Field(
    "churn",
    0.0,
    number(0),
    "S_churn of EDM's stochastic sampler, for heun",
    formerly="sampling.churn",
  ),
  Field(
    "guidance_scale",
    1.0,
    number(0),
    "scale of classifier-free guidance; 1: none",
    formerly="sampling.guidance_scale",
  ),
)


def _noise(
  *, p_mean: float, p_std: float, start: Any, sigma_max: Any
) -> tuple[Field, ...]:
  """Noise levels in training and sampling, by the preconditioning's custom."""
  return (
    Field(
      "p_mean",
      p_mean,
      number(-20, 20),
      "mean of ln(sigma) in training",
      trained=True,
      formerly="stages.p_mean",
    ),
    Field(
      "p_std",
      p_std,
      number(1e-6, 10),
      "std of ln(sigma) in training",
      trained=True,
      formerly="stages.p_std",
    ),
    Field(
      "start",
      start,
      choice(*STARTS),
      "noise, or handoff: the image of the stage before plus noise",
      formerly="sampling.start",
    ),
    Field(
      "sigma_max",
      sigma_max,
      level,
      "noise level where sampling starts",
      formerly="sampling.sigma_max",
    ),
  )


_EDM = (
  *_noise(
    # EDM (arXiv 2206.00364, table 1).
    p_mean=-1.2,
    p_std=1.2,
    start=_later("noise", "handoff"),
    # EDM's 80, halved with each halving of the resolution; after a handoff 8
    # times what the stage adds, as CIFAR-10 has it at 16x16 and at 32x32.
    sigma_max=_by_position(lambda count: 80 / 2 ** (count - 1), 1.35, 1.04),
  ),
  Field(
    "sigma_data",
    0.5,
    level,
    "root of the mean square of what is denoised",
    trained=True,
    formerly="stages.sigma_data",
  ),
  Field(
    "sigma_min",
    0.002,
    level,
    "noise level before the last step",
    formerly="sampling.sigma_min",
  ),
  Field(
    "rho",
    7.0,
    number(0.1, 1000),
    "exponent of the Karras grid",
    formerly="sampling.rho",
  ),
)
_FLOW = (
  # Logit-normal times (arXiv 2501.01423), and as good as nothing but noise.
  *_noise(p_mean=0.0, p_std=1.0, start="noise", sigma_max=1e4),
  Field(
    "cosine_weight",
    1.0,
    number(0),
    "weight of the velocity's cosine loss beside its squared error",
    trained=True,
    formerly="stages.direction",
  ),
  Field(
    "shift",
    1.0,
    number(0.001, 1000),
    "shift of the times; LightningDiT's 0.3 is 1 / 0.3 here",
    formerly="sampling.shift",
  ),
)

STAGE_GROUPS = (
  Group("", "", (*_TRAINING, *_SAMPLING)),
  Group("model.precondition", "edm", _EDM),
  Group("model.precondition", "flow", _FLOW),
)
