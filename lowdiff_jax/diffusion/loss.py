"""The denoising loss, and the joint loss over all stages of a cascade."""

import functools
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


class Examples(NamedTuple):
  """Images of one stage and all that is drawn at random to train on them.

  Attributes:
    clean: [B,H,W,C].
    eps: [B,H,W,C] standard normal noise.
    sigma: [B] noise levels.
    cond: the condition.
  """

  clean: Array
  eps: Array
  sigma: Array
  cond: Condition


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
  clean: Array,
  eps: Array,
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
    clean: [B,H,W,C].
    eps: [B,H,W,C] standard normal noise.
    cond: the condition.
    sigma: [B] noise levels.
    weight: weight of a noise level.

  Returns:
    [B] weighted squared errors and [B] cosine losses, not averaged over the
    batch.
  """
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


def draw_examples(
  key: Array,
  image: Array | tuple[Array, ...],
  label: Array | None,
  *,
  stages: Sequence[StageLoss],
  label_dropout: float = 0.0,
  augment: Array | None = None,
) -> tuple[Examples, ...]:
  """Draws all that is random in `cascade_loss`, for each image of the batch.

  Args:
    key: a fresh key for each step.
    image: [B,H,W,C], or the images of each resolution (`pyramid.pyramid`).
    label: [B] or None.
    stages: lowest resolution first; each is conditioned on the one before.
    label_dropout: probability of training without the label, for guidance.
    augment: [B,D] how each image was distorted; None if it was not.

  Returns:
    Each stage's examples, `StageLoss.images` of them.
  """
  images = pyramid.pyramid(image, len(stages))
  examples = []
  for k, stage in enumerate(stages):
    keys = jax.random.split(jax.random.fold_in(key, stage.resolution), 4)
    low_res = images[k - 1] if k else None
    clean, low_res, stage_label, distortion = jax.tree.map(
      functools.partial(_evenly, count=stage.images),
      (images[k], low_res, label, augment),
    )
    if stage_label is not None and label_dropout > 0:
      drop = jax.random.bernoulli(keys[0], label_dropout, stage_label.shape)
      stage_label = jnp.where(drop, NO_LABEL, stage_label)
    cond = conditioning.draw_condition(
      keys[2], low_res, stage_label, stage.low_res_sigma
    )
    examples.append(
      Examples(
        clean,
        jax.random.normal(keys[1], clean.shape),
        noise.lognormal_sigmas(
          keys[3], stage.images, stage.p_mean, stage.p_std
        ),
        cond._replace(augment=distortion, position=jnp.arange(stage.images)),
      )
    )
  return tuple(examples)


def _evenly(x: Array, count: int) -> Array:
  """`count` of the rows of x, as many from each device that holds some."""
  groups = math.gcd(len(x), count)
  x = x.reshape(groups, -1, *x.shape[1:])[:, : count // groups]
  return x.reshape(count, *x.shape[2:])


def cascade_loss(
  denoise: Denoiser,
  examples: Sequence[Examples],
  *,
  stages: Sequence[StageLoss],
) -> tuple[Array, Metrics]:
  """Sum over the stages of scale_k times the mean denoising loss at stage k.

  Args:
    denoise: the unified denoiser in training mode.
    examples: of each stage; see `draw_examples`.
    stages: lowest resolution first.

  Returns:
    The scalar loss and each stage's unscaled squared error, "loss/<R>x<R>", and
    cosine loss, "cosine/<R>x<R>", if it is trained on.
  """
  total: Array = jnp.zeros(())
  metrics: Metrics = {}
  for stage, (clean, eps, sigma, cond) in zip(stages, examples, strict=True):
    losses = denoising_loss(
      denoise, clean, eps, cond, sigma=sigma, weight=stage.weight
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
    eps = jax.random.normal(eps_key, images[k].shape)
    sigmas = noise.lognormal_quantiles(levels, stage.p_mean, stage.p_std)

    def loss_at(
      sigma: Array,
      stage: StageLoss = stage,
      clean: Array = images[k],
      eps: Array = eps,
      cond: Condition = cond,
    ) -> Array:
      sigma = jnp.full(clean.shape[0], sigma)
      error, _ = denoising_loss(
        denoise, clean, eps, cond, sigma=sigma, weight=stage.weight
      )
      return error.mean()

    # One after the other: the network is compiled once.
    losses = jax.lax.map(loss_at, jnp.asarray(sigmas, jnp.float32))
    for sigma, value in zip(sigmas, losses, strict=True):
      name = f"{stage.resolution}x{stage.resolution}/sigma_{sigma:.3g}"
      metrics[f"validation/{name}"] = value
  return metrics
