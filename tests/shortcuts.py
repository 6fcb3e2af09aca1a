"""What spares the tests time, and changes no result.

Programs of an installed wheel (`tests/wheels.py`) run without these.
"""

import gc
from typing import Any

from flax.core import scope
from jax._src import compiler, distributed

_param = scope.Scope.param
_write = compiler._cache_write


def take() -> None:
  """For this process, and those that are forked from it."""
  # Tracing makes many objects, and no garbage of them.
  gc.freeze()
  gc.set_threshold(50_000)
  scope.Scope.param = _unchecked
  compiler._cache_write = _by_every_process


def _unchecked(
  self: scope.Scope, name: str, init: Any, *args: Any, **kwargs: Any
) -> Any:
  """Does not trace an initialiser to compare its shape with what is there.

  That is a quarter of what tracing a training step costs.
  """
  if self.has_variable("params", name):
    self.reserve(name, "params")
    return self.get_variable("params", name)
  return _param(self, name, init, *args, **kwargs)


def _by_every_process(*args: Any) -> None:
  """Lets each process of a run keep what it has compiled.

  JAX lets process 0 alone, and on CPUs the others find nothing that it has
  kept.
  """
  state = distributed.global_state
  number, state.process_id = state.process_id, 0
  try:
    _write(*args)
  finally:
    state.process_id = number
