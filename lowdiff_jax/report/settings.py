"""Sections of a report on what runs were: summary, config, environment."""

from collections.abc import Sequence
from typing import Any

from lowdiff_jax.experiment.defaults import of_same_kind
from lowdiff_jax.experiment.model_card import without_folders
from lowdiff_jax.experiment.schema import leaves, resolutions
from lowdiff_jax.metrics.table import distance_of
from lowdiff_jax.report.chart import short
from lowdiff_jax.report.html import Html, element, join, table
from lowdiff_jax.report.run import Run


def summary(runs: Sequence[Run]) -> Html:
  """A row for each run: what was trained, for how long, and how good it is."""
  rows = []
  for run in runs:
    cascade = " → ".join(map(str, resolutions(run.config)))
    if not run.config.cascade:
      cascade = f"{resolutions(run.config)[-1]} alone"
    rows.append(
      [
        run.name,
        str(run.config.data.source),
        cascade,
        str(run.config.model.backbone),
        short(max((r.get("images", 0) for r in run.log), default=0)),
        _best(run),
      ]
    )
  heads = ("run", "data", "stages", "network", "images seen", "best distance")
  return table(heads, rows)


def config(runs: Sequence[Run]) -> Html:
  """Fields that differ from the default in a run, beside the default."""
  own = [without_folders(leaves(run.config)) for run in runs]
  defaults = [without_folders(leaves(of_same_kind(run.config))) for run in runs]
  names = dict.fromkeys(
    name
    for values, usual in zip(own, defaults, strict=True)
    for name, value in values.items()
    if value != usual[name]
  )
  rows = []
  for name in names:
    usual = next(d[name] for d in defaults if name in d)
    cells = [_cell(*both, name) for both in zip(own, defaults, strict=True)]
    rows.append(
      [name, element("span", _shown(usual), class_="default"), *cells]
    )
  heads = ("field", "default", *(run.name for run in runs))
  note = "Fields that differ from their default, of paths the last part alone."
  return join([element("p", note, class_="note"), table(heads, rows)])


def environment(runs: Sequence[Run]) -> Html:
  """Versions, devices and the use of time."""
  columns = [_environment(run) for run in runs]
  names = dict.fromkeys(name for column in columns for name in column)
  rows = [[name, *(c.get(name, "-") for c in columns)] for name in names]
  if not rows:
    return Html("")
  return table(("", *(run.name for run in runs)), rows)


def _best(run: Run) -> str:
  """The least distance of the scores, with the number of images."""
  found = []
  for record in run.scores.values():
    name = distance_of(record["generated"])
    images = record["protocol"].get("images")
    found.append((record["generated"][name], f"{name} of {images:,} images"))
  if not found:
    return "-"
  value, what = min(found)
  return f"{value:.4g} ({what.replace('_', ' ')})"


def _cell(values: dict[str, Any], usual: dict[str, Any], name: str) -> str:
  if name not in values:
    return "-"
  same = values[name] == usual[name]
  kind = {"class_": "default"} if same else {}
  return element("span" if same else "b", _shown(values[name]), **kind)


def _shown(value: Any) -> str:
  """A value of the config as it is written on the command line."""
  if isinstance(value, list):
    comma = "," if len(value) == 1 else ""
    return f"({', '.join(map(_shown, value))}{comma})"
  return str(value) or "''"


def _environment(run: Run) -> dict[str, str]:
  found: dict[str, str] = {}
  for record in run.scores.values():
    protocol = record["protocol"]
    found |= {
      f"{name} (scores)": version
      for name, version in protocol.get("versions", {}).items()
    }
    found["device (scores)"] = str(protocol.get("device", "-"))
    found["code, SHA-256 (scores)"] = str(protocol.get("code_sha256", "-"))[:16]
  if run.benchmark:
    found["device (benchmark)"] = run.benchmark["device"]
    found["jax (benchmark)"] = run.benchmark["jax"]
  if speeds := sorted(y for _, y in run.curve("images_per_second")):
    found["images/s in training, median"] = f"{speeds[len(speeds) // 2]:,.1f}"
  for name in run.names("goodput/"):
    part = name.removeprefix("goodput/")
    found[f"time in training: {part}"] = f"{100 * run.curve(name)[-1][1]:.1f} %"
  return found


def legend(runs: Sequence[Run]) -> Html:
  """The colour of each of several runs."""
  if len(runs) == 1:
    return Html("")
  names = [
    element("span", run.name, style=f"--own: {run.colour}") for run in runs
  ]
  return element("div", *names, class_="legend")
