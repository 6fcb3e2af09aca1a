"""A run's identity: the config and the version of the code, in each checkpoint.

Later modes use the checkpoint's config unless --config is given. Either way, a
field that defines the model, its data or its training (`Field.trained`) and
differs from the checkpoint's is an error.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

import lowdiff_jax
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.data.latents.info import LatentInfo
from lowdiff_jax.experiment import defaults, legacy, pages
from lowdiff_jax.experiment.errors import naming
from lowdiff_jax.experiment.fields import SCHEMA
from lowdiff_jax.experiment.overrides import override
from lowdiff_jax.experiment.schema import (
  is_stage,
  leaves,
  resolutions,
  stage_names,
)
from lowdiff_jax.reading import read_json
from lowdiff_jax.types import ImageSpec, UserError


def code_version() -> dict[str, str]:
  """The version of this package, and the SHA-256 of its source.

  Without the config pages, which only an installed package holds.
  """
  root, digest = Path(lowdiff_jax.__file__).parent, hashlib.sha256()
  for path in sorted(root.rglob("*.py")):
    if path.parent != pages.folder():
      digest.update(path.read_bytes())
  return {"version": lowdiff_jax.__version__, "sha256": digest.hexdigest()}


def to_json(config: ConfigDict) -> dict[str, Any]:
  """A config as JSON."""
  return json.loads(config.to_json())


def from_json(record: Mapping[str, Any]) -> ConfigDict:
  """A config from JSON, of this version or of version 0.1.

  Args:
    record: see `to_json`.

  Returns:
    The config, checked; a field that the record lacks has its default.

  Raises:
    UserError: it is no config, or uses what was removed.
  """
  values = _values(record)
  if legacy.is_legacy(values):
    values = legacy.modernise(values)
  stages = {n.split(".")[1] for n in values if n.startswith("stages.")}
  kinds = {
    name: values[name]
    for name in (
      "model.backbone",
      "model.precondition",
      "data.space",
      "autoencoder.kind",
    )
    if name in values
  }
  if not stages or not all(map(is_stage, stages)):
    raise UserError(
      f"no config: its stages are {', '.join(sorted(stages)) or 'none'}, "
      "expected sections as s32"
    )
  sides = sorted(int(name[1:]) for name in stages)
  return override(defaults.defaults(sides, **kinds), values)


def read_spec(
  record: Mapping[str, Any],
) -> tuple[ImageSpec, LatentInfo | None]:
  """What a checkpoint or an exported model knows of its data.

  Args:
    record: JSON with "spec" and, but for pixels of older versions, "latents".

  Returns:
    Of the images, and how they were encoded, if they are latents.

  Raises:
    Exception: of some type, where it is damaged; see `reading`.
  """
  spec = ImageSpec(**record["spec"])
  whole = all(type(value) is int and 0 <= value < 2**16 for value in spec)
  if not whole or not spec.channels:
    raise ValueError(f"its images are {spec}")
  latents = record.get("latents")
  return spec, latents and LatentInfo.from_json(latents)


def read_file(path: AnyPath) -> ConfigDict | None:
  """The config in a run's config.json; None if there is no such file.

  Raises:
    UserError: it is damaged, or uses what was removed.
  """
  if not path.is_file():
    return None
  record = read_json(path, "set --config to what was trained")
  with naming(str(path)):
    return from_json(record)


def for_run(
  trained: ConfigDict | None,
  page: ConfigDict | None,
  values: Mapping[str, Any],
  run: str,
) -> ConfigDict:
  """The config for a mode of a run.

  Args:
    trained: that of the run's checkpoint; None if there is none.
    page: of --config; None if not given.
    values: fields that flags set.
    run: the run's name, for messages.

  Returns:
    The page, or else the run's own config, with these values.

  Raises:
    UserError: neither config, or one that contradicts what was trained.
  """
  base = page if page is not None else trained
  if base is None:
    raise UserError(
      f"no config: set --config=digits; {run} holds no run that "
      "would know its own"
    )
  config = override(base, values)
  if trained is not None:
    check_same_run(config, trained, run)
  return config


def check_same_run(
  config: ConfigDict, trained: ConfigDict, run: str, *, but: str = ""
) -> None:
  """Raises UserError at the first trained field that differs.

  Args:
    config: the config.
    trained: that of the run.
    run: the run's name, for messages.
    but: a field that may differ.
  """
  ours, theirs = leaves(config), leaves(trained)
  way_out = "leave --config and this flag out, or set another --workdir"
  if resolutions(config) != resolutions(trained):
    raise UserError(
      f"config.stages are of {resolutions(config)} pixels, but {run} was "
      f"trained with {resolutions(trained)}: {way_out}"
    )
  for values in (theirs, ours):
    for name, field, _ in SCHEMA.fields(values, stage_names(trained)):
      if not field.trained or name == but:
        continue
      if ours.get(name) != theirs.get(name):
        raise UserError(
          f"config.{name} = {ours.get(name)!r}, but {run} was trained with "
          f"{theirs.get(name)!r}: {way_out}"
        )


def _values(record: Any) -> dict[str, Any]:
  """The values of JSON by their full names; UserError if it is no config."""
  if not isinstance(record, Mapping):
    raise UserError(f"no config: expected sections, not {record!r}")
  try:
    return leaves(ConfigDict(_tuples(record)))
  # A name with a dot, or one that ConfigDict has for itself.
  except (ValueError, TypeError, AttributeError, LookupError) as error:
    raise UserError(f"no config: {error}") from error


def _tuples(value: Any) -> Any:
  """JSON's lists as the tuples that they were."""
  if isinstance(value, Mapping):
    return {name: _tuples(item) for name, item in value.items()}
  return tuple(map(_tuples, value)) if isinstance(value, list) else value
