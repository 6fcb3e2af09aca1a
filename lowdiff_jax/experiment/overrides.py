"""Config pages, and fields that are set from outside of them."""

import runpy
from collections.abc import Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict

from lowdiff_jax.experiment import legacy, pages
from lowdiff_jax.experiment.check import check
from lowdiff_jax.experiment.fields import SCHEMA
from lowdiff_jax.experiment.rules import LARGEST, literal
from lowdiff_jax.experiment.schema import leaves, stage_names
from lowdiff_jax.types import UserError


def read_page(page: str) -> ConfigDict:
  """The config of a page.

  Args:
    page: "FILE.py" or "FILE.py:argument,argument"; a page of the package by
      its name alone, "digits:smoke".

  Returns:
    What its `get_config` makes of the arguments, not checked.

  Raises:
    UserError: there is no such file, it is no page, or it fails.
  """
  given, _, arguments = page.partition(":")
  path = pages.find(given)
  if not path.is_file():
    raise UserError(
      f"--config={given}: there is no such file; pages that need none are "
      f"{', '.join(pages.names())}"
    )
  try:
    get_config = runpy.run_path(str(path)).get("get_config")
    config = get_config and get_config(arguments)
  except UserError:
    raise
  except ValueError as error:
    raise UserError(f"--config={page}: {error}") from error
  except Exception as error:  # A page is a program of the user's.
    reason = f"{type(error).__name__}: {error}".split("\n")[0]
    raise UserError(f"--config={page} fails: {reason}") from error
  if not isinstance(config, ConfigDict):
    raise UserError(
      f"--config={given}: expected a function get_config(arguments) that "
      "returns a ConfigDict; see configs/digits.py"
    )
  return config


def parse_flags(
  flags: Iterable[tuple[str, str]], config: ConfigDict
) -> dict[str, Any]:
  """Fields that flags set, by their full names of today.

  Args:
    flags: names and texts, as of --config.train.images=100.
    config: whose stages there are.

  Returns:
    Name -> value, in order.

  Raises:
    UserError: a field that no config has.
  """
  stages = stage_names(config)
  values: dict[str, Any] = {}
  for name, text in flags:
    if legacy.is_former(name):
      value = literal(text)
    else:
      value = SCHEMA.find(legacy.renamed(name), stages).rule.parse(text)
    values.update(legacy.translate(name, value, stages))
  return values


def override(config: ConfigDict, values: Mapping[str, Any]) -> ConfigDict:
  """A copy of a config with other values, checked.

  Args:
    config: the config.
    values: by full names, as in {"train.images": 100}.

  Returns:
    The copy.

  Raises:
    UserError: a field that this config does not have, or a wrong value.
  """
  config = config.copy_and_resolve_references()
  before, stages = leaves(config), stage_names(config)
  for name, value in values.items():
    field = SCHEMA.find(name, stages)
    if name not in before:
      raise UserError(f"config.{name}: no such field{SCHEMA.owner(name)}")
    value = _like(before[name], value)
    field.rule.check(f"config.{name}", value)
    *sections, last = name.split(".")
    section = config
    for part in sections:
      section = section[part]
    with section.ignore_type():
      section[last] = value
  check(config)
  return config


def as_flags(values: Mapping[str, Any]) -> list[str]:
  """The flags of the command line that set these fields."""
  return [f"--config.{name}={value}" for name, value in values.items()]


def _like(old: Any, new: Any) -> Any:
  """`new` with integers as floats where `old` has floats; lists as tuples."""
  if isinstance(new, list | tuple):
    pattern = old if isinstance(old, tuple) and len(old) == len(new) else new
    return tuple(_like(a, b) for a, b in zip(pattern, new, strict=True))
  if isinstance(old, float) and type(new) is int and abs(new) < LARGEST:
    return float(new)
  return new
