"""Guidance maps a denoiser to a denoiser."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from lowdiff_jax.types import NO_LABEL, Array, Condition, Denoiser


@dataclasses.dataclass(frozen=True)
class Guidance:
  """Classifier-free guidance within an interval of noise levels.

  D = D(x; no label) + scale (D(x; label) - D(x; no label)) where
  interval[0] <= sigma <= interval[1], and D(x; label) elsewhere
  (arXiv 2207.12598, equation 6; arXiv 2404.07724, equation 5).

  Attributes:
    scale: 1 is no guidance, and then costs none.
    interval: the noise levels that are guided.
    channels: how many leading channels are guided; None for all. DiT's and
      LightningDiT's published scales are for the first 3, and far too large
      for all of them.
  """

  scale: float = 1.0
  interval: tuple[float, float] = (0.0, math.inf)
  channels: int | None = None

  def __call__(self, denoise: Denoiser) -> Denoiser:
    """The guided denoiser.

    Args:
      denoise: a denoiser trained with label dropout.

    Returns:
      A denoiser that evaluates `denoise` on a batch of twice the size inside
      the interval, and on the batch itself outside.
    """
    if self.scale == 1:
      return denoise
    low, high = self.interval

    def guided(noisy: Array, sigma: Array, cond: Condition) -> Array:
      if cond.label is None:
        raise ValueError("guidance needs labels: condition.label is None")
      unlabelled_cond = cond._replace(label=jnp.full_like(cond.label, NO_LABEL))
      inside = (low <= sigma) & (sigma <= high)

      def pair(noisy: Array, sigma: Array, cond: Condition) -> Array:
        # Side by side: of a batch that is split over devices, both are on one.
        twice = jax.tree.map(
          lambda a, b: jnp.stack([a, b], 1).reshape(-1, *a.shape[1:]),
          (noisy, sigma, cond),
          (noisy, sigma, unlabelled_cond),
        )
        both = denoise(*twice).reshape(-1, 2, *noisy.shape[1:])
        labelled, unlabelled = both[:, 0], both[:, 1]
        weight = jnp.where(inside, self.scale, 1.0)[:, None, None, None]
        if self.channels is not None:
          guided_channel = jnp.arange(noisy.shape[-1]) < self.channels
          weight = jnp.where(guided_channel, weight, 1.0)
        return unlabelled + weight * (labelled - unlabelled)

      return jax.lax.cond(inside.any(), pair, denoise, noisy, sigma, cond)

    return guided

  def nfe(self, levels: np.ndarray) -> int:
    """Evaluations of the network at these noise levels: 2 where guided."""
    if self.scale == 1:
      return len(levels)
    levels = np.asarray(levels, np.float32)
    low, high = (np.float32(limit) for limit in self.interval)
    return len(levels) + int(((low <= levels) & (levels <= high)).sum())

  def __str__(self) -> str:
    if self.scale == 1:
      return "none"
    low, high = self.interval
    return f"classifier-free, {self.scale:g} for sigma in [{low:g}, {high:g}]"
