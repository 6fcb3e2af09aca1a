"""The cascade: one denoiser, stage after stage, at several resolutions."""

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lowdiff_jax.diffusion import conditioning, noise, pyramid
from lowdiff_jax.diffusion.guidance import Guidance
from lowdiff_jax.diffusion.sampler import Sampler
from lowdiff_jax.types import AnyArray, Array, Condition, Denoiser

STARTS = ("noise", "handoff")
# Above any resolution: no first visit has the key of a later one.
_VISIT = 2**16


class Stage(NamedTuple):
  """How one resolution is sampled.

  Attributes:
    resolution: side of the image in pixels.
    sigmas: [N+1] noise levels; the first one is where the stage starts.
    sampler: the solver.
    start: "noise": sigmas[0] eps; "handoff": the image of the stage before,
      resized to this resolution, + sigmas[0] eps, as SDEdit (arXiv 2108.01073)
      starts from a guide.
    low_res_sigma: std of the noise added to the condition.
    guidance: classifier-free guidance; none by default.
    num_steps: N as an argument of a program, see `Sampler`; None if it is known
      from `sigmas`.
  """

  resolution: int
  sigmas: AnyArray
  sampler: Sampler
  start: str = "noise"
  low_res_sigma: float | Array = 0.0
  guidance: Guidance = Guidance()
  num_steps: Array | None = None

  @property
  def steps(self) -> int:
    """N."""
    return len(self.sigmas) - 1

  @property
  def nfe(self) -> int:
    """Evaluations of the network on each image; a guided one is two."""
    return self.guidance.nfe(self.sampler.levels(np.asarray(self.sigmas)))

  def program(self) -> Hashable:
    """What a program depends on whose arguments are levels and steps."""
    return (
      self.resolution,
      len(self.sampler.padded(self.sigmas)),
      self.sampler,
      self.start,
      self.guidance,
    )

  def identity(self) -> Hashable:
    """All that its images depend on besides the denoiser and the keys."""
    levels = tuple(float(sigma) for sigma in self.sigmas)
    return (self.program(), levels, float(self.low_res_sigma))

  def to_json(self) -> dict[str, Any]:
    """All that decides how the stage samples, for records."""
    return {
      "resolution": self.resolution,
      "sampler": self.sampler.name,
      "steps": self.steps,
      "nfe": self.nfe,
      "sigmas": [float(f"{sigma:.4g}") for sigma in self.sigmas],
      "start": self.start,
      "low_res_sigma": self.low_res_sigma,
      **self.sampler.settings(),
      "guidance": str(self.guidance),
    }


class Cascaded(NamedTuple):
  """What a cascade returns.

  Attributes:
    images: of each stage, in their order: [B,r_k,r_k,C].
    trajectories: each stage's clean estimate at each step,
      [N_k,B,r_k,r_k,C]; None if not asked for.
  """

  images: tuple[Array, ...]
  trajectories: tuple[Array | None, ...]


def cascade(
  denoise: Denoiser,
  keys: Array,
  stages: Sequence[Stage],
  *,
  channels: int,
  label: Array | None = None,
  low_res: Array | None = None,
  trajectory: bool = False,
) -> Cascaded:
  """Generates images, a stage that doubles the resolution conditioned.

  A one-stage cascade is the plain sampler, so the single-resolution baseline
  needs no other path; with `low_res` it is an upscaler. Stages in any order of
  resolutions that start by handoff are what such a network can do without
  further training, as 32 -> 16 -> 32 (Bottleneck Sampling, arXiv 2503.18940).

  Args:
    denoise: the unified denoiser, or any (noisy, sigma, condition) -> clean.
    keys: [B] one key per image (`noise.image_keys`): image i depends on
      keys[i] alone, and its noise in a stage on the stage's resolution and on
      how often that has come before.
    stages: the stages, in their order.
    channels: of the image.
    label: [B] classes, or None.
    low_res: [B,h,w,C] images that the first stage takes for those of a stage
      before, usually at half its resolution; None to generate from noise.
    trajectory: also return each stage's clean estimate at each step.

  Returns:
    The images of each stage, and the trajectories.

  Raises:
    ValueError: a stage whose start is none of `STARTS`, or a first one that
      starts by handoff without `low_res`.
  """
  images, trajectories, image = [], [], low_res
  for k, stage in enumerate(stages):
    visits = sum(s.resolution == stage.resolution for s in stages[:k])
    number = stage.resolution + _VISIT * visits
    stage_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, number)
    image, estimates = _sample_stage(
      denoise,
      stage_keys,
      stage,
      image,
      label,
      channels=channels,
      trajectory=trajectory,
    )
    images.append(image)
    trajectories.append(estimates)
  return Cascaded(tuple(images), tuple(trajectories))


def _sample_stage(
  denoise: Denoiser,
  keys: Array,
  stage: Stage,
  before: Array | None,
  label: Array | None,
  *,
  channels: int,
  trajectory: bool,
) -> tuple[Array, Array | None]:
  """One stage after the image `before`; see `cascade`."""
  if stage.start not in STARTS:
    raise ValueError(f"start={stage.start!r}: expected one of {STARTS}")
  low_key, start_key, step_key = jnp.moveaxis(
    jax.vmap(lambda key: jax.random.split(key, 3))(keys), 1, 0
  )
  shape = (stage.resolution, stage.resolution, channels)
  noisy = stage.sigmas[0] * noise.normal_per_image(start_key, shape)
  cond = Condition(label=label)
  if stage.start == "handoff":
    if before is None:
      raise ValueError("the first stage cannot start by handoff")
    noisy = noisy + pyramid.resize(before, stage.resolution)
  if before is not None and 2 * before.shape[1] == stage.resolution:
    cond = conditioning.noisy_condition(
      before,
      jnp.full(keys.shape[0], stage.low_res_sigma),
      noise.normal_per_image(low_key, before.shape[1:]),
      label,
    )
  more = {} if stage.num_steps is None else {"num_steps": stage.num_steps}
  return stage.sampler(
    stage.guidance(denoise),
    step_key,
    noisy,
    stage.sigmas,
    cond,
    trajectory=trajectory,
    **more,
  )
