"""Mode plan: whether a config fits an accelerator, and what it may cost."""

from collections.abc import Callable
from typing import Any

import jax
from ml_collections import ConfigDict

from lowdiff_jax import files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.distributed import is_main
from lowdiff_jax.experiment import compiled, identity, memory
from lowdiff_jax.experiment.defaults import of_same_kind
from lowdiff_jax.experiment.overrides import as_flags
from lowdiff_jax.experiment.plan import plan
from lowdiff_jax.experiment.schema import leaves
from lowdiff_jax.profiling import slices

_PROGRAMS = {"training": "training step", "sampling": "sampler"}
# Widths of the table.
_LABEL, _VALUE, _OPERATION = 24, 22, 70
# Figures of a program: label and form.
_ROWS: dict[str, tuple[str, Callable[[Any], str]]] = {
  "images": ("images", str),
  "fits": ("fits", lambda yes: "yes" if yes else "NO"),
  "needed_bytes": ("memory needed", memory.readable),
  "argument_bytes": ("  arguments", memory.readable),
  "temporary_bytes": ("  temporaries", memory.readable),
  "model_macs": ("model FLOPs", lambda macs: f"{2 * macs:.3g}"),
  "collective_bytes": (
    "moved between devices",
    lambda moved: memory.readable(sum(moved.values())),
  ),
  "collective_seconds": ("  in seconds, at least", "{:.2g}".format),
  "expected_seconds": ("expected seconds", "{:.4g}".format),
  "expected_images_per_second": ("expected images/s", "{:,.1f}".format),
  "expected_mfu": ("expected MFU", "{:.1%}".format),
  "compile_cpu_seconds": ("compiled in CPU seconds", "{:.0f}".format),
}
# What they are where a part of the program has no estimate.
_BOUNDS = {
  "expected_seconds": ">",
  "expected_images_per_second": "<",
  "expected_mfu": "<",
}


def run(config: ConfigDict, workdir: AnyPath) -> None:
  """Compiles for config.plan.slice; prints, and writes workdir/plan.json."""
  # A program of the cache would have taken no time to compile.
  jax.config.update("jax_enable_compilation_cache", False)
  one = slices.SLICES[config.plan.slice]
  devices = slices.devices(one.name)
  defaults = leaves(of_same_kind(config))
  record = {
    "slice": one._asdict(),
    "device_kind": devices[0].device_kind,
    "config": {
      name: value
      for name, value in leaves(config).items()
      if value != defaults[name]
    },
    "code": identity.code_version(),
    "versions": compiled.versions(),
    **plan(config),
  }
  if is_main():
    path = workdir / "plan.json"
    files.write_json(path, record)
    print(report(record))
    print(f"in full: {path}")


def report(record: dict[str, Any]) -> str:
  """The record of a plan as text."""
  one = record["slice"]
  lines = [
    f"{one['name']}: {one['devices']} x {record['device_kind']}, "
    f"{memory.readable(one['memory'])} each"
  ]
  columns = {}
  for name, label in _PROGRAMS.items():
    if name in record:
      part = record[name]
      columns[label] = part["as_given"]
      if part.get("with_overrides"):
        columns[f"{name}, overridden"] = part["with_overrides"]
  lines += _table(columns)
  for name in _PROGRAMS:
    if name in record:
      lines += _advice(name, record[name])
  for label, column in columns.items():
    lines += _operations(label, column)
  return "\n".join(lines)


def _table(columns: dict[str, dict[str, Any]]) -> list[str]:
  """A column for each program, a row for each figure that one of them has."""
  lines = [" " * _LABEL + "".join(f"{name:>{_VALUE}}" for name in columns)]
  for key, (label, _) in _ROWS.items():
    if any(column.get(key) is not None for column in columns.values()):
      cells = (cell(column, key) for column in columns.values())
      line = "".join(f"{text:>{_VALUE}}" for text in cells)
      lines.append(f"{label:{_LABEL}}{line}")
  return lines


def cell(program: dict[str, Any], key: str) -> str:
  """A figure of a program's record as text; "-" if there is none."""
  value = program.get(key)
  if value is None:
    return "-"
  text = _ROWS[key][1](value)
  if key in _BOUNDS and program.get("without_estimate"):
    text = f"{_BOUNDS[key]} {text}"
  return text


def _advice(name: str, part: dict[str, Any]) -> list[str]:
  if part["as_given"]["fits"]:
    return []
  overrides = part["overrides"]
  if overrides is None:
    tried = [" ".join(as_flags(one["overrides"])) for one in part["tried"]]
    return [" nor with ".join([f"{name} does not fit", *tried])]
  return [f"{name} fits with {' '.join(as_flags(overrides))}"]


def _operations(label: str, column: dict[str, Any]) -> list[str]:
  """The most expensive operations, and what has no estimate."""
  if "operations" not in column:
    return []
  lines = [f"{label}, most expensive operations"]
  for row in column["operations"]:
    loops = "".join(f"{count}x " for count in row["loops"])
    lines.append(
      f"{row['share']:7.1%}  {row['shape']:28} {loops:10} "
      f"{row['name'][-_OPERATION:]}"
    )
  for target, count in column["without_estimate"].items():
    lines.append(
      f"   not estimated: {count} calls of {target}, which the expected "
      "seconds leave out"
    )
  return lines
