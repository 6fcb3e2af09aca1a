"""The denoising loss, and the joint loss over all stages of a cascade."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lowdiff_jax.diffusion import noise, pyramid
from lowdiff_jax.types import NO_LABEL, Array, Condition, Denoiser, Metrics


class StageLoss(NamedTuple):
  """How one resolution is trained.

  Attributes:
    resolution: side of the image in pixels.
    images: how many images of each batch train this stage.
    p_mean, p_std: ln(sigma) ~ N(p_mean, p_std^2).
    weight: sigma [B] -> weight of the squared error [B]: 1/c_out^2.
    scale: weight of this stage in the sum over stages.
    low_res_sigma: (a, b): noise on the condition has std U(a, b).
    direction: weight of the direction loss beside the squared error.
    consistency: r in [0, 1), for few evaluations: the target is the estimate at
      r sigma; 0 is the clean image. See `denoising_loss`.
  """

  resolution: int
  images: int
  p_mean: float
  p_std: float
  weight: Callable[[Array], Array]
  scale: float = 1.0
  low_res_sigma: tuple[float, float] = (0.0, 0.0)
  direction: float = 0.0
  consistency: float = 0.0


def edm_weight(sigma: Array, *, sigma_data: float) -> Array:
  """1 / c_out^2 = (sigma^2 + sigma_data^2) / (sigma sigma_data)^2.

  EDM (arXiv 2206.00364, table 1): the loss of an untrained network is 1 at
  every noise level.
  """
  return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2


def flow_weight(sigma: Array) -> Array:
  """1 / c_out^2 = ((1 + sigma) / sigma)^2: so it is the velocity's error."""
  return ((1 + sigma) / sigma) ** 2


def denoising_loss(
  denoise: Denoiser,
  key: Array,
  clean: Array,
  cond: Condition,
  *,
  sigma: Array,
  weight: Callable[[Array], Array],
  consistency: float = 0.0,
) -> tuple[Array, Array]:
  """weight(sigma) |D - T|^2 and 1 - cos(v(D), v(T)), for each example.

  D = D(clean + sigma eps; sigma) and T = clean, EDM (arXiv 2206.00364, equation
  2), with velocities v(x) = x - (noisy - x) / sigma, so v(clean) = clean - eps:
  the direction loss of FasterDiT (arXiv 2410.10356) and LightningDiT, the
  cosine being over channels. Both are means over pixels (and channels), so that
  resolutions compare.

  With r = consistency > 0 it is consistency training (arXiv 2303.01469,
  equation 10) as a tuning (arXiv 2406.14548), here of a fixed r:
    T = stop_gradient(D(clean + r sigma eps; r sigma)),
  of the same parameters, eps, condition and dropout. For r -> 0, T is `clean`;
  for r -> 1, the end of the flow through the noisy image is learned. Between,
  it is too smooth: of Gaussian data and at large sigma, r^(1/4) of their std.

  Args:
    denoise: the denoiser.
    key: for eps.
    clean: [B,H,W,C].
    cond: the condition.
    sigma: [B] noise levels.
    weight: weight of a noise level.
    consistency: r in [0, 1).

  Returns:
    [B] squared errors and [B] direction losses, never averaged over the batch.
  """
  eps = jax.random.normal(key, clean.shape)
  level = sigma[:, None, None, None]
  noisy, target, velocity = clean + level * eps, clean, clean - eps
  estimate = denoise(noisy, sigma, cond)
  if consistency:
    nearer = clean + consistency * level * eps
    target = denoise(nearer, consistency * sigma, cond)
    target = jax.lax.stop_gradient(target)
    velocity = target - (noisy - target) / level
  error = jnp.square(estimate - target).mean((1, 2, 3))
  cosine = _cosine(estimate - (noisy - estimate) / level, velocity)
  return weight(sigma) * error, 1 - cosine.mean((1, 2))


def _cosine(a, b):
  """Of the angle between a and b over the last axis."""
  # A new network's velocity is 0, where the cosine would have no gradient.
  squares = (jnp.square(x).sum(-1) + 1e-4 for x in (a, b))
  return (a * b).sum(-1) / jnp.sqrt(math.prod(squares))


def noisy_condition(
  key: Array,
  low_res: Array | None,
  label: Array | None,
  sigmas: tuple[float, float],
) -> Condition:
  """The training condition: low_res + s eps with s ~ U(a, b).

  Args:
    key: for s and eps.
    low_res: [B,h,w,C] clean image one resolution lower; None in stage 0.
    label: [B] or None.
    sigmas: a and b, the smallest std and the largest.

  Returns:
    The condition (Cascaded Diffusion, arXiv 2106.15282, section 4.2).
  """
  if low_res is None:
    return Condition(label=label)
  sigma_key, eps_key = jax.random.split(key)
  low, high = sigmas
  sigma = low + (high - low) * jax.random.uniform(sigma_key, low_res.shape[:1])
  eps = jax.random.normal(eps_key, low_res.shape)
  low_res = low_res + sigma[:, None, None, None] * eps
  return Condition(label=label, low_res=low_res, low_res_sigma=sigma)


def cascade_loss(
  denoise: Denoiser,
  key: Array,
  image: Array | tuple[Array, ...],
  label: Array | None,
  *,
  stages: Sequence[StageLoss],
  label_dropout: float = 0.0,
  augment: Array | None = None,
) -> tuple[Array, Metrics]:
  """Sum over the stages of scale_k times the mean denoising loss at stage k.

  Args:
    denoise: the unified denoiser in training mode.
    key: a fresh key for each step.
    image: [B,H,W,C] at the last stage's resolution, or the images of each
      resolution; see `pyramid.pyramid`.
    label: [B] or None.
    stages: the lowest resolution first; stage k > 0 is conditioned on the
      image one resolution lower.
    label_dropout: probability of training without the label, for guidance.
    augment: [B,D] how each image was distorted; None if it was not.

  Returns:
    The scalar loss and each stage's unscaled squared error, "loss/<R>x<R>", and
    direction loss, "direction/<R>x<R>", if it is trained on.
  """
  images = pyramid.pyramid(image, len(stages))
  total, metrics = 0.0, {}
  for k, stage in enumerate(stages):
    keys = jax.random.split(jax.random.fold_in(key, stage.resolution), 4)
    clean = images[k][: stage.images]
    stage_label = None if label is None else label[: stage.images]
    if stage_label is not None and label_dropout > 0:
      drop = jax.random.bernoulli(keys[0], label_dropout, stage_label.shape)
      stage_label = jnp.where(drop, NO_LABEL, stage_label)
    cond = noisy_condition(
      keys[2],
      images[k - 1][: stage.images] if k else None,
      stage_label,
      stage.low_res_sigma,
    )
    if augment is not None:
      cond = cond._replace(augment=augment[: stage.images])
    losses = denoising_loss(
      denoise,
      keys[1],
      clean,
      cond,
      sigma=noise.lognormal_sigmas(
        keys[3], stage.images, stage.p_mean, stage.p_std
      ),
      weight=stage.weight,
      consistency=stage.consistency,
    )
    loss, direction = (values.mean() for values in losses)
    total = total + stage.scale * loss
    metrics[f"loss/{stage.resolution}x{stage.resolution}"] = loss
    if stage.direction:
      total = total + stage.scale * stage.direction * direction
      metrics[f"direction/{stage.resolution}x{stage.resolution}"] = direction
  return total, {"loss": total, **metrics}


def validation_loss(
  denoise: Denoiser,
  key: Array,
  image: Array | tuple[Array, ...],
  label: Array | None,
  *,
  stages: Sequence[StageLoss],
  levels: int = 5,
) -> Metrics:
  """The loss at fixed noise levels, which no sampling of sigma blurs.

  Always that of denoising: a consistency loss has a target that moves.

  Args:
    denoise: the unified denoiser.
    key: fixed, so that values compare over training.
    image: held-out ones, as in training.
    label: [B] or None.
    stages: as in training; the condition's noise is drawn as in training.
    levels: how many quantiles of each stage's noise distribution.

  Returns:
    "validation/<R>x<R>/sigma_<level>" for each stage and level.
  """
  images = pyramid.pyramid(image, len(stages))
  metrics = {}
  for k, stage in enumerate(stages):
    eps_key, cond_key = jax.random.split(
      jax.random.fold_in(key, stage.resolution)
    )
    low_res = images[k - 1] if k else None
    cond = noisy_condition(cond_key, low_res, label, stage.low_res_sigma)
    sigmas = noise.lognormal_quantiles(levels, stage.p_mean, stage.p_std)

    def loss_at(sigma, stage=stage, clean=images[k], key=eps_key, cond=cond):
      sigma = jnp.full(clean.shape[0], sigma)
      error, _ = denoising_loss(
        denoise, key, clean, cond, sigma=sigma, weight=stage.weight
      )
      return error.mean()

    # One after the other: the network is compiled once.
    losses = jax.lax.map(loss_at, jnp.asarray(sigmas, jnp.float32))
    for sigma, value in zip(sigmas, losses, strict=True):
      name = f"{stage.resolution}x{stage.resolution}/sigma_{sigma:.3g}"
      metrics[f"validation/{name}"] = value
  return metrics
