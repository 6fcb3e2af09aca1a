"""The optimizer: Adam with a linear warm-up and clipped gradients."""

import optax


def adam(
  learning_rate: float,
  *,
  warmup_steps: int,
  betas: tuple[float, float],
  eps: float,
  clip_norm: float,
) -> optax.GradientTransformation:
  """Adam (arXiv 1412.6980).

  Args:
    learning_rate: after the warm-up.
    warmup_steps: steps over which the rate rises linearly from 0.
    betas: decay of the two moments.
    eps: added to the root of the second moment.
    clip_norm: largest global norm of the gradient; inf for none.

  Returns:
    The transformation.
  """
  rate = optax.linear_schedule(0.0, learning_rate, warmup_steps)
  return optax.chain(
    optax.clip_by_global_norm(clip_norm),
    optax.adam(rate if warmup_steps else learning_rate, *betas, eps),
  )
