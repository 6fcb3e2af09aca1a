"""The page of a study: its variants and rows, each with its flags."""

import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags as absl_flags
from ml_collections import ConfigDict, config_flags

from lowdiff_jax.experiment.check import check
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
    parents: variant -> the one that it goes on from, if it does.
    rows: to score.
    page_rows: all that the page has, these among them.
  """

  variants: dict[str, Variant]
  parents: Mapping[str, str]
  rows: list[Row]
  page_rows: list[Row]


def open_study(
  page: Path,
  arguments: Sequence[str] = (),
  variants: Sequence[str] | None = None,
  rows: Sequence[str] | None = None,
  passed: Sequence[str] = (),
) -> Study:
  """Reads a page and checks whatever will be run.

  Args:
    page: a Python file with VARIANTS, PARENTS, ROWS and get_config.
    arguments: of the page, for all variants.
    variants: the names of those to train; all by default.
    rows: the names of those to score; all of these variants by default.
    passed: flags for all runs.

  Returns:
    The study.

  Raises:
    UserError: what is not there, or which flag is wrong.
  """
  if not page.is_file():
    raise UserError(f"--config={page}: there is no such file")
  names = runpy.run_path(str(page))
  if not {"VARIANTS", "ROWS"} <= names.keys():
    raise UserError(f"--config={page}: not of a study, it has no ROWS")
  variants = _known("variants", variants, names["VARIANTS"])
  of_variants = [row for row, (v, _) in names["ROWS"].items() if v in variants]
  rows = _known("rows", rows, of_variants)

  def flags(variant, fields: Mapping[str, Any]):
    config = f"--config={page}:{','.join([variant, *arguments])}"
    changed = (f"--config.{name}={value}" for name, value in fields.items())
    return [config, *passed, *changed]

  page_rows = [
    Row(name, variant, flags(variant, fields))
    for name, (variant, fields) in names["ROWS"].items()
  ]
  chosen = [row for row in page_rows if row.name in rows]
  for row in chosen:
    open_config(row.flags)
  trained = {variant: flags(variant, {}) for variant in variants}
  return Study(
    {name: Variant(f, open_config(f)) for name, f in trained.items()},
    names.get("PARENTS", {}),
    chosen,
    page_rows,
  )


def _known(flag, chosen, known):
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
  argv, values = ["study", *flags], absl_flags.FlagValues()
  config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
  try:
    rest = values(argv)[1:]
    if rest:
      raise UserError(f"after --: expected --config.FIELD=VALUE, not {rest[0]}")
    config = values.config
    config.keys()  # A page that cannot be read fails when used.
  except (absl_flags.Error, AttributeError, KeyError, ValueError) as error:
    raise UserError(str(error).strip().splitlines()[-1]) from error
  check(config)
  return config
