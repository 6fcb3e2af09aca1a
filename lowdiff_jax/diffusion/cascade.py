"""The cascade: one denoiser, stage after stage, at several resolutions."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lowdiff_jax.diffusion import noise, pyramid
from lowdiff_jax.types import Array, Condition, Denoiser, Sampler

STARTS = ("noise", "handoff")
# Above any resolution: no first visit has the key of a later one.
_VISIT = 2**16


class Stage(NamedTuple):
  """How one resolution is sampled.

  Attributes:
    resolution: side of the image in pixels.
    sigmas: [N+1] noise levels; the first one is where the stage starts.
    sampler: one of `sampler.SAMPLERS`.
    start: "noise": sigmas[0] eps; "handoff": the image of the stage before,
      brought to this resolution, + sigmas[0] eps.
    low_res_sigma: std of the noise added to the condition (Cascaded Diffusion,
      arXiv 2106.15282, section 4.2, "conditioning augmentation").
    guide: maps the denoiser to a guided one.
  """

  resolution: int
  sigmas: np.ndarray
  sampler: Sampler
  start: str = "noise"
  low_res_sigma: float = 0.0
  guide: Callable[[Denoiser], Denoiser] = lambda denoise: denoise


def _sample_stage(
  denoise, keys, stage, before, label, *, channels, upsample, trajectory
):
  """One stage; see `cascade`."""
  low_key, start_key, step_key = jnp.moveaxis(
    jax.vmap(lambda key: jax.random.split(key, 3))(keys), 1, 0
  )
  shape = (stage.resolution, stage.resolution, channels)
  noisy = stage.sigmas[0] * noise.normal_per_image(start_key, shape)
  cond = Condition(label=label)
  if before is not None and stage.start == "handoff":
    noisy = noisy + pyramid.bring_to(stage.resolution, before, upsample)
  if before is not None and 2 * before.shape[1] == stage.resolution:
    blur = noise.normal_per_image(low_key, before.shape[1:])
    cond = Condition(
      label=label,
      low_res=before + stage.low_res_sigma * blur,
      low_res_sigma=jnp.full(keys.shape[0], stage.low_res_sigma),
    )
  return stage.sampler(
    stage.guide(denoise),
    step_key,
    noisy,
    stage.sigmas,
    cond,
    trajectory=trajectory,
  )


def cascade(
  denoise: Denoiser,
  keys: Array,
  stages: Sequence[Stage],
  *,
  channels: int,
  label: Array | None = None,
  low_res: Array | None = None,
  upsample: Callable[[Array], Array] = pyramid.upsample,
  trajectory: bool = False,
) -> tuple[tuple[Array, ...], tuple[Array | None, ...]]:
  """Generates images, a stage that doubles the resolution conditioned.

  A one-stage cascade is the plain sampler, so the single-resolution baseline
  needs no other path; with `low_res` it is an upscaler. Stages in any order of
  resolutions that start by handoff are what such a network can do without
  further training, as 32 -> 16 -> 32 (Bottleneck Sampling, arXiv 2503.18940).

  Args:
    denoise: the unified denoiser.
    keys: [B] one key per image (`noise.image_keys`): image i depends on
      keys[i] alone, and its noise in a stage on the stage's resolution and on
      how often that has come before.
    stages: the stages, in their order.
    channels: of the image.
    label: [B] classes, or None.
    low_res: [B,h,w,C] images that the first stage takes for those of a stage
      before, usually at half its resolution; None to generate from noise.
    upsample: up2, the same that the denoiser uses.
    trajectory: also return each stage's clean estimate at each step.

  Returns:
    The images of each stage, in their order: [B,r_k,r_k,C]; and the
    trajectories [N_k,B,r_k,r_k,C], or Nones.
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
      upsample=upsample,
      trajectory=trajectory,
    )
    images.append(image)
    trajectories.append(estimates)
  return tuple(images), tuple(trajectories)


def evaluations(stage: Stage) -> int:
  """NFE: how often the network runs on each image of a stage.

  Counted, not calculated: the stage runs on a denoiser that calls back, so a
  guided evaluation is two.
  """
  count = 0

  def add(images):
    nonlocal count
    count += images

  def denoise(noisy: Array, sigma: Array, cond: Condition) -> Array:
    del sigma, cond
    jax.debug.callback(add, noisy.shape[0])
    return jnp.zeros_like(noisy)

  keys, label = noise.image_keys(0, [0]), jnp.zeros(1, jnp.int32)
  small = [stage._replace(resolution=2)]
  run = jax.jit(lambda: cascade(denoise, keys, small, channels=1, label=label))
  jax.block_until_ready(run())
  jax.effects_barrier()
  return int(count)
