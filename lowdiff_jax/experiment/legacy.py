"""Names and values of version 0.1's configs, in those of today.

In 0.1 a field of the stages was a tuple with a value for each. Runs and
checkpoints of that time still load, and its flags are still understood.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from lowdiff_jax.experiment.fields import SCHEMA
from lowdiff_jax.types import UserError

_OF_STAGES = {
  field.formerly: field.name
  for _, field, staged in SCHEMA.everything()
  if staged
}
_RENAMED = {
  field.formerly: field.name
  for _, field, staged in SCHEMA.everything()
  if field.formerly and not staged
}
_VALUES = {
  "model.entry": {"matched": "matching_level", "whole": "top_level"},
}
# What lost against its alternatives was removed; off is all that still loads.
_REMOVED = {
  "stages.consistency": lambda value: (
    not (any(value) if isinstance(value, tuple) else value)
  ),
  "stages.upsample": lambda value: value == "nearest",
  "baseline.order": lambda value: not value,
  "baseline.order_steps": lambda value: not value,
  "baseline.order_sigma_min": lambda value: not value,
  "baseline.order_sigma_max": lambda value: not value,
}


def is_legacy(values: dict[str, Any]) -> bool:
  """Whether a config, by full names, is of version 0.1."""
  return "stages.resolutions" in values


def modernise(values: dict[str, Any]) -> dict[str, Any]:
  """A whole config of version 0.1, by full names, with today's.

  Raises:
    UserError: it uses what was removed.
  """
  sides = values["stages.resolutions"]
  if not isinstance(sides, tuple):
    raise UserError(f"config.stages.resolutions = {sides!r}: expected a tuple")
  stages = [f"s{side}" for side in sides]
  found: dict[str, Any] = {}
  for name, value in values.items():
    if name != "stages.resolutions":
      found.update(translate(name, value, stages))
  return found


def is_former(name: str) -> bool:
  """Whether a name was of a field with a value for each stage, or removed."""
  return name in _OF_STAGES or name in _REMOVED


def renamed(name: str) -> str:
  """Today's name of a field that is not of a stage."""
  return _RENAMED.get(name, name)


def translate(
  name: str, value: Any, stages: Sequence[str]
) -> Iterator[tuple[str, Any]]:
  """A field of version 0.1 as those of today; a field of today as it is.

  Args:
    name: full name.
    value: its value.
    stages: names of the stages' sections.

  Yields:
    Names and values.

  Raises:
    UserError: it was removed, or has not one value for each stage.
  """
  if name in _REMOVED:
    if not _REMOVED[name](value):
      raise UserError(
        f"config.{name} = {value!r}: removed in version 0.2; version 0.1 of "
        "lowdiff_jax has it"
      )
  elif name in _OF_STAGES:
    if not isinstance(value, tuple) or len(value) != len(stages):
      raise UserError(
        f"config.{name} = {value!r}: expected {len(stages)} values, one for "
        f"each stage; or set config.stages.{stages[0]}.{_OF_STAGES[name]}"
      )
    for stage, item in zip(stages, value, strict=True):
      yield f"stages.{stage}.{_OF_STAGES[name]}", item
  else:
    name = renamed(name)
    if name in _VALUES:
      value = _VALUES[name].get(str(value), value)
    yield name, value
