"""The page of a study: its variants and rows, each with its flags."""

import runpy
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from lowdiff_jax.experiment.overrides import (
  as_flags,
  override,
  parse_flags,
  read_page,
)
from lowdiff_jax.types import UserError


class Variant(NamedTuple):
  """What trains: the flags for `lowdiff_jax.main`, and the config they make."""

  flags: list[str]
  config: ConfigDict


class Row(NamedTuple):
  """A row of the table: the run it is of, and the flags it is sampled with."""

  name: str
  variant: str
  flags: list[str]


class Study(NamedTuple):
  """What a study is asked for.

  Attributes:
    variants: to train, by their names.
    rows: to score.
    page_rows: all that there are, these among them.
  """

  variants: dict[str, Variant]
  rows: list[Row]
  page_rows: list[Row]


def open_study(
  page: Path,
  rows_of_page: Path,
  arguments: Sequence[str] = (),
  *,
  variants: Sequence[str] | None = None,
  rows: Sequence[str] | None = None,
  passed: Sequence[str] = (),
) -> Study:
  """Reads a page and its rows, and checks whatever will be run.

  Args:
    page: a config page with VARIANTS, its arguments.
    rows_of_page: a Python file with ROWS: name -> (variant, fields). Each
      variant also is a row.
    arguments: of the page, for all variants.
    variants: the names of those to train; all by default.
    rows: the names of those to score; all of these variants by default.
    passed: flags for all runs.

  Returns:
    The study.

  Raises:
    UserError: what is not there, or which flag is wrong.
  """
  known = _names(page, "--config", "VARIANTS")
  variants = _known("variants", variants, known)
  all_rows = {
    **{name: (name, {}) for name in known},
    **_names(rows_of_page, "--rows-file", "ROWS"),
  }
  of_variants = [row for row, (v, _) in all_rows.items() if v in variants]
  rows = _known("rows", rows, of_variants)

  def flags(variant: str, fields: Mapping[str, Any]) -> list[str]:
    config = f"--config={page}:{','.join([variant, *arguments])}"
    return [config, *passed, *as_flags(fields)]

  page_rows = [
    Row(name, variant, flags(variant, fields))
    for name, (variant, fields) in all_rows.items()
  ]
  chosen = [row for row in page_rows if row.name in rows]
  for row in chosen:
    open_config(row.flags)
  trained = {variant: flags(variant, {}) for variant in variants}
  return Study(
    {name: Variant(f, open_config(f)) for name, f in trained.items()},
    chosen,
    page_rows,
  )


def _names(path: Path, flag: str, name: str) -> dict[str, Any]:
  """What a Python file calls `name`."""
  if not path.is_file():
    raise UserError(f"{flag}={path}: there is no such file")
  found = runpy.run_path(str(path))
  if name not in found:
    raise UserError(f"{flag}={path}: not of a study, it has no {name}")
  return found[name]


def _known(
  flag: str, chosen: Sequence[str] | None, known: Collection[str]
) -> list[str]:
  """The chosen ones of the known names, in the order of these."""
  for name in chosen or ():
    if name not in known:
      raise UserError(
        f"--{flag}: there is no {name!r} among {', '.join(known)}"
      )
  return [name for name in known if chosen is None or name in chosen]


def open_config(flags: Sequence[str]) -> ConfigDict:
  """The config that `lowdiff_jax.main` makes of these flags.

  Args:
    flags: --config=PAGE:ARGUMENTS and --config.FIELD=VALUE.

  Returns:
    The config, checked.

  Raises:
    UserError: it is none.
  """
  page, fields = "", []
  for flag in flags:
    name, _, value = flag.partition("=")
    if name == "--config":
      page = value
    elif name.startswith("--config."):
      fields.append((name.removeprefix("--config."), value))
    else:
      raise UserError(f"after --: expected --config.FIELD=VALUE, not {flag}")
  config = read_page(page)
  return override(config, parse_flags(fields, config))
