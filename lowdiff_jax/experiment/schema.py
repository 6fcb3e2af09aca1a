"""Fields of a config: which ones a config has, and how they are looked up."""

import difflib
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from lowdiff_jax.experiment.rules import Rule
from lowdiff_jax.types import UserError


class Field(NamedTuple):
  """A field: name, default, rule and documentation.

  Attributes:
    name: "section.field"; of a stage the field alone.
    default: value where a page sets none; a `PerStage` if it depends on the
      stage or on how many there are.
    rule: what it may hold.
    doc: its documentation, a line.
    trained: whether it defines the model, its data or its training, so that it
      is fixed once the run has begun.
    formerly: its name in configs of version 0.1, if another.
  """

  name: str
  default: Any
  rule: Rule
  doc: str
  trained: bool = False
  formerly: str = ""


class PerStage(NamedTuple):
  """A default that depends on the stage.

  Attributes:
    value: (stage k, number of stages) -> default.
  """

  value: Callable[[int, int], Any]


class Group(NamedTuple):
  """Fields that exist only where another field has a value.

  Attributes:
    chooser: name of the other field; "" for fields of every config.
    value: its value.
    fields: the fields.
  """

  chooser: str
  value: str
  fields: tuple[Field, ...]


def is_stage(name: Any) -> bool:
  """Whether a section's name is of a stage: "s8", of up to 9999 pixels."""
  return isinstance(name, str) and bool(re.fullmatch("s[1-9][0-9]{0,3}", name))


def stage_names(config: ConfigDict) -> list[str]:
  """The sections of a config's stages, "s8", the lowest resolution first.

  Raises:
    UserError: there is none, or one that is no stage's.
  """
  stages = config.get("stages")
  names = list(stages) if isinstance(stages, ConfigDict) else []
  if not names:
    raise UserError("config.stages: expected a section for each resolution")
  if wrong := [name for name in names if not is_stage(name)]:
    raise UserError(
      f"config.stages.{wrong[0]}: expected sections s<resolution>, as in s32"
    )
  return sorted(names, key=lambda name: int(name[1:]))


def resolutions(config: ConfigDict) -> tuple[int, ...]:
  """Sides of the stages' images, the lowest first."""
  return tuple(int(name[1:]) for name in stage_names(config))


def stage_sections(config: ConfigDict) -> list[ConfigDict]:
  """The stages' sections, the lowest resolution first."""
  return [config.stages[name] for name in stage_names(config)]


class Schema:
  """All fields that a config can have."""

  def __init__(self, groups: tuple[Group, ...], stages: tuple[Group, ...]):
    self._groups, self._stages = groups, stages
    self._by_name = _by_name(groups)
    self._of_stages = _by_name(stages)

  def fields(
    self, values: dict[str, Any], stages: list[str]
  ) -> Iterator[tuple[str, Field, int]]:
    """The fields of one config.

    Args:
      values: of the choosers, by name.
      stages: names of the sections.

    Yields:
      Full name, the field, and which stage it is of (0 for fields of none).
    """
    for group in self._groups:
      if not group.chooser or values.get(group.chooser) == group.value:
        yield from ((field.name, field, 0) for field in group.fields)
    for k, stage in enumerate(stages):
      for group in self._stages:
        if not group.chooser or values.get(group.chooser) == group.value:
          for field in group.fields:
            yield f"stages.{stage}.{field.name}", field, k

  def everything(self) -> Iterator[tuple[Group, Field, bool]]:
    """All fields of all groups; the last item is whether it is of a stage."""
    for groups, staged in ((self._groups, False), (self._stages, True)):
      for group in groups:
        yield from ((group, field, staged) for field in group.fields)

  def find(self, name: str, stages: list[str]) -> Field:
    """The field of a full name.

    Args:
      name: as "stages.s8.steps".
      stages: names of the sections.

    Raises:
      UserError: there is no such stage, or no such field in any config; the
        nearest is named.
    """
    section, _, rest = name.partition(".")
    if section == "stages" and rest.partition(".")[0] not in stages:
      raise UserError(
        f"config.{name}: no such field; the stages are {', '.join(stages)}"
      )
    found = self._lookup(name)
    if found:
      return found[0][1]
    known = [f"stages.{s}.{field}" for s in stages for field in self._of_stages]
    near = difflib.get_close_matches(name, [*self._by_name, *known], 1)
    hint = f"did you mean {near[0]}?" if near else "--mode=config lists all"
    raise UserError(f"config.{name}: no such field; {hint}")

  def owner(self, name: str) -> str:
    """The choice that a field needs, for messages; "" unless it is just one."""
    found = self._lookup(name)
    if len(found) != 1 or not found[0][0].chooser:
      return ""
    ((group, _),) = found
    return f" but with {group.chooser} = {group.value!r}"

  def _lookup(self, name: str) -> list[tuple[Group, Field]]:
    part, _, last = name.rpartition(".")
    if part.startswith("stages.") and is_stage(part.removeprefix("stages.")):
      return self._of_stages.get(last, [])
    return self._by_name.get(name, [])


def _by_name(
  groups: tuple[Group, ...],
) -> dict[str, list[tuple[Group, Field]]]:
  """Field name -> the groups that have it, each with its field."""
  found: dict[str, list[tuple[Group, Field]]] = {}
  for group in groups:
    for field in group.fields:
      found.setdefault(field.name, []).append((group, field))
  return found


def leaves(config: ConfigDict, prefix: str = "") -> dict[str, Any]:
  """The values of a config by their full names, in order."""
  found = {}
  for name, value in config.items():
    if isinstance(value, ConfigDict):
      found.update(leaves(value, f"{prefix}{name}."))
    else:
      found[prefix + name] = value
  return found
