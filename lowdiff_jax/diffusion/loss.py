"""The denoising loss, and the joint loss over all stages of a cascade."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lowdiff_jax.diffusion import conditioning, noise, pyramid
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
    cosine_weight: weight of the cosine loss beside the squared error.
  """

  resolution: int
  images: int
  p_mean: float
  p_std: float
  weight: Callable[[Array], Array]
  scale: float = 1.0
  low_res_sigma: tuple[float, float] = (0.0, 0.0)
  cosine_weight: float = 0.0


def edm_weight(sigma: Array, *, sigma_data: float) -> Array:
  """1 / c_out^2 = (sigma^2 + sigma_data^2) / (sigma sigma_data)^2.

  EDM (arXiv 2206.00364, table 1): the loss of an untrained network is 1 at
  every noise level.
  """
  return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2


def flow_weight(sigma: Array) -> Array:
  """1 / c_out^2 = ((1 + sigma) / sigma)^2: the error of the velocity."""
  return ((1 + sigma) / sigma) ** 2


def denoising_loss(
  denoise: Denoiser,
  key: Array,
  clean: Array,
  cond: Condition,
  *,
  sigma: Array,
  weight: Callable[[Array], Array],
) -> tuple[Array, Array]:
  """weight(sigma) |D - clean|^2 and 1 - cos(v(D), v(clean)), per example.

  D = D(clean + sigma eps; sigma), EDM (arXiv 2206.00364, equation 2), with
  velocities v(x) = x - (noisy - x) / sigma, so v(clean) = clean - eps: the
  cosine loss of FasterDiT (arXiv 2410.10356) and LightningDiT, the cosine being
  over channels. Both are means over pixels (and channels), so that resolutions
  compare.

  Args:
    denoise: the denoiser.
    key: for eps.
    clean: [B,H,W,C].
    cond: the condition.
    sigma: [B] noise levels.
    weight: weight of a noise level.

  Returns:
    [B] weighted squared errors and [B] cosine losses, not averaged over the
    batch.
  """
  eps = jax.random.normal(key, clean.shape)
  level = sigma[:, None, None, None]
  noisy = clean + level * eps
  estimate = denoise(noisy, sigma, cond)
  error = jnp.square(estimate - clean).mean((1, 2, 3))
  cosine = _cosine(estimate - (noisy - estimate) / level, clean - eps)
  return weight(sigma) * error, 1 - cosine.mean((1, 2))


def _cosine(a: Array, b: Array) -> Array:
  """The cosine of the angle between a and b over the last axis."""
  # A new network's velocity is 0, where the cosine would have no gradient.
  squares = (jnp.square(x).sum(-1) + 1e-4 for x in (a, b))
  return (a * b).sum(-1) / jnp.sqrt(math.prod(squares))


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
    image: [B,H,W,C], or the images of each resolution (`pyramid.pyramid`).
    label: [B] or None.
    stages: lowest resolution first; each is conditioned on the one before.
    label_dropout: probability of training without the label, for guidance.
    augment: [B,D] how each image was distorted; None if it was not.

  Returns:
    The scalar loss and each stage's unscaled squared error, "loss/<R>x<R>", and
    cosine loss, "cosine/<R>x<R>", if it is trained on.
  """
  images = pyramid.pyramid(image, len(stages))
  total: Array = jnp.zeros(())
  metrics: Metrics = {}
  for k, stage in enumerate(stages):
    keys = jax.random.split(jax.random.fold_in(key, stage.resolution), 4)
    clean = images[k][: stage.images]
    stage_label = None if label is None else label[: stage.images]
    if stage_label is not None and label_dropout > 0:
      drop = jax.random.bernoulli(keys[0], label_dropout, stage_label.shape)
      stage_label = jnp.where(drop, NO_LABEL, stage_label)
    cond = conditioning.draw_condition(
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
    )
    loss, cosine_loss = (values.mean() for values in losses)
    total = total + stage.scale * loss
    metrics[f"loss/{stage.resolution}x{stage.resolution}"] = loss
    if stage.cosine_weight:
      total = total + stage.scale * stage.cosine_weight * cosine_loss
      metrics[f"cosine/{stage.resolution}x{stage.resolution}"] = cosine_loss
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
    cond = conditioning.draw_condition(
      cond_key, low_res, label, stage.low_res_sigma
    )
    sigmas = noise.lognormal_quantiles(levels, stage.p_mean, stage.p_std)

    def loss_at(
      sigma: Array,
      stage: StageLoss = stage,
      clean: Array = images[k],
      key: Array = eps_key,
      cond: Condition = cond,
    ) -> Array:
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
