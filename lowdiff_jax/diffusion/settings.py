"""The noise settings of each stage, from what its images measure."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp

from lowdiff_jax.diffusion import pyramid
from lowdiff_jax.types import Array, UserError

# A handoff starts at this multiple of the residual.
HANDOFF = 8.0
# The std of rounding to 8 bits, in [-1, 1].
ROUNDING = 2 / 255 / math.sqrt(12)


class Recipe(NamedTuple):
  """The noise of a published single-resolution model."""

  p_mean: float
  p_std: float
  sigma_max: float


RECIPES = {
  # arXiv 2206.00364, table 1.
  "edm": Recipe(-1.2, 1.2, 80.0),
  # Logit-normal times (arXiv 2501.01423), and as good as nothing but noise.
  "flow": Recipe(0.0, 1.0, 1e4),
}


class Scale(NamedTuple):
  """What the images of one resolution measure.

  Attributes:
    resolution: side of the image in pixels.
    sigma_data: root of the mean square of the images.
    residual: root of the mean square of x_k - upsample(x_{k-1}); None in stage
      0.
  """

  resolution: int
  sigma_data: float
  residual: float | None


class Settings(NamedTuple):
  """The fields of one stage that are proposed, by their names in a config."""

  sigma_data: float
  p_mean: float
  p_std: float
  sigma_max: float


def mean_squares(image: Array, levels: int) -> tuple[Array, Array]:
  """Each image's mean(x_k^2), and mean((x_k - upsample(x_{k-1}))^2) for k > 0.

  Args:
    image: [B,H,W,C].
    levels: K, how many resolutions.

  Returns:
    [B,K] and [B,K-1], the lowest resolution first.
  """
  images = pyramid.pyramid(image, levels)
  pairs = itertools.pairwise(images)
  residuals = [x - pyramid.upsample(low_res) for low_res, x in pairs]

  def squares(parts: Sequence[Array]) -> Array:
    columns = [jnp.square(x).mean((1, 2, 3)) for x in parts]
    return jnp.stack(columns, 1) if columns else jnp.zeros((len(image), 0))

  return squares(images), squares(residuals)


def propose(
  scales: Sequence[Scale],
  starts: Sequence[str],
  recipe: Recipe = RECIPES["edm"],
) -> list[Settings]:
  """The recipe at the top resolution, and what follows n halvings below it.

    P_std     = the recipe's
    P_mean    = the recipe's, but for k > 0 at most ln(residual) + P_std
    sigma_max = 8 residual after a handoff, else the recipe's / 2^n

  The mean of 2x2 pixels halves the std of independent noise, so half the noise
  is the same information at half the resolution: this is exact for sigma_max,
  which has to drown the coarsest content. P_mean sits where detail is decided,
  and detail does not shrink with the resolution (CIFAR-10's residual is 0.130
  at 32x32 and 0.169 at 16x16), so it stays.

  A stage k > 0 is told everything but the residual. Far above sigma = residual
  the noisy image tells it nothing more, so detail is decided around that level,
  and training must cover it: P_mean stays if it is at most P_std above that
  level (CIFAR-10 by EDM: 0.7 P_std at 32x32, 0.5 at 16x16). A handoff is wrong
  by 1/8 of the noise it starts with, and training wastes little on levels above
  its start: at least Phi((ln 8 - P_std) / P_std) are below, with EDM's 77 %.

  Args:
    scales: of each stage, the lowest resolution first.
    starts: of each stage, from `cascade.STARTS`.
    recipe: the published noise to adapt.

  Returns:
    The settings of each stage, sigma_data to 2 digits and the others to 3.

  Raises:
    UserError: a resolution adds nothing to the one below.
  """
  proposals = []
  for k, (scale, start) in enumerate(zip(scales, starts, strict=True)):
    halvings = len(scales) - 1 - k
    p_mean = recipe.p_mean
    sigma_max = recipe.sigma_max / 2**halvings
    if scale.residual is not None:
      if scale.residual < ROUNDING:
        raise UserError(
          "the images hold nothing at "
          f"{scale.resolution} pixels that they do not at "
          f"{scales[k - 1].resolution}; leave the higher resolution out"
        )
      p_mean = min(p_mean, math.log(scale.residual) + recipe.p_std)
      if start == "handoff":
        sigma_max = HANDOFF * scale.residual
    proposals.append(
      Settings(
        _digits(scale.sigma_data, 2),
        _digits(p_mean, 3),
        recipe.p_std,
        _digits(sigma_max, 3),
      )
    )
  return proposals


def _digits(value: float, count: int) -> float:
  return float(f"{value:.{count}g}")
