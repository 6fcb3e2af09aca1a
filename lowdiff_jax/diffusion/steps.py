"""The loop of a solver: a `lax.scan`, or one whose length is data."""

from collections.abc import Callable
from typing import Any

import jax

from lowdiff_jax.types import Array


def run(
  step: Callable[[Any, Any], tuple[Any, Array]],
  carry: Any,
  per_step: Any,
  count: int | Array,
  trajectory: bool,
) -> tuple[Array, Array | None]:
  """Runs steps 0 ... count - 1.

  Args:
    step: (carry, its row of `per_step`) -> (carry, clean estimate).
    carry: before the first step; its first part is the image.
    per_step: arrays with a row for each step, and possibly more rows.
    count: the number of steps. A program with an array of it serves all
      numbers; its loop cannot be differentiated in reverse.
    trajectory: whether to return the estimates; not with such an array.

  Returns:
    The image, and the estimates [count,...] or None.
  """
  if not isinstance(count, int):

    def advance(i: Array, carry: Any) -> Any:
      return step(carry, jax.tree.map(lambda rows: rows[i], per_step))[0]

    return jax.lax.fori_loop(0, count, advance, carry)[0], None

  def body(carry: Any, inputs: Any) -> tuple[Any, Array | None]:
    carry, clean = step(carry, inputs)
    return carry, clean if trajectory else None

  per_step = jax.tree.map(lambda rows: rows[:count], per_step)
  carry, estimates = jax.lax.scan(body, carry, per_step)
  return carry[0], estimates
