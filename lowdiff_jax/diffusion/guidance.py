"""Guidance maps a denoiser to a denoiser."""

import jax
import jax.numpy as jnp

from lowdiff_jax.types import NO_LABEL, Array, Condition, Denoiser


def classifier_free(
  denoise: Denoiser,
  scale: float,
  *,
  interval: tuple[float, float] = (0.0, jnp.inf),
  channels: int | None = None,
) -> Denoiser:
  """Classifier-free guidance within an interval of noise levels.

  D = D(x; no label) + scale (D(x; label) - D(x; no label)) where
  interval[0] <= sigma <= interval[1], and D(x; label) elsewhere
  (arXiv 2207.12598, equation 6; arXiv 2404.07724, equation 5).

  Args:
    denoise: a denoiser trained with label dropout.
    scale: 1 is no guidance, and then costs none.
    interval: the noise levels that are guided.
    channels: how many leading channels are guided; all by default. DiT's and
      LightningDiT's published scales are for the first 3, and far too large
      for all of them.

  Returns:
    A denoiser that evaluates `denoise` on a batch of twice the size inside the
    interval, and on the batch itself outside.
  """
  if scale == 1:
    return denoise

  def guided(noisy: Array, sigma: Array, cond: Condition) -> Array:
    inside = (interval[0] <= sigma) & (sigma <= interval[1])

    def pair(noisy, sigma, cond):
      without = cond._replace(label=jnp.full_like(cond.label, NO_LABEL))
      twice = jax.tree.map(
        lambda a, b: jnp.concatenate([a, b]),
        (noisy, sigma, cond),
        (noisy, sigma, without),
      )
      labelled, unlabelled = jnp.split(denoise(*twice), 2)
      weight = jnp.where(inside, scale, 1.0)[:, None, None, None]
      if channels is not None:
        guided_channel = jnp.arange(noisy.shape[-1]) < channels
        weight = jnp.where(guided_channel, weight, 1.0)
      return unlabelled + weight * (labelled - unlabelled)

    return jax.lax.cond(inside.any(), pair, denoise, noisy, sigma, cond)

  return guided
