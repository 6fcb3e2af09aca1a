"""Sections of a report on results: scores, quality against speed, speed."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lowdiff_jax.experiment.memory import readable
from lowdiff_jax.experiment.model_card import without_folders
from lowdiff_jax.experiment.overrides import as_flags
from lowdiff_jax.metrics import table as metrics
from lowdiff_jax.report.chart import Axis, Curve, between, chart
from lowdiff_jax.report.html import Html, details, element, join, table
from lowdiff_jax.report.run import Record, Run
from lowdiff_jax.schedules.pareto import Point, pareto_front


def scores(runs: Sequence[Run]) -> Html:
  """A row for each score, what makes them incomparable, and each protocol."""
  records = {
    (run.name, name): record
    for run in runs
    for name, record in run.scores.items()
  }
  if not records:
    return Html("")
  everything = [name for r in records.values() for name in r["generated"]]
  names = list(dict.fromkeys(everything))
  rows = [
    [
      run,
      _count(record["protocol"].get("images")),
      _stages(record["protocol"].get("sampling", [])),
      *(_beside_held_out(record, name) for name in names),
    ]
    for (run, _), record in records.items()
  ]
  labelled = {" / ".join(key): record for key, record in records.items()}
  notes = [
    "In brackets: what held-out real images reach.",
    *metrics.differences(labelled),
  ]
  return join(
    [
      table(["run", "images", "NFE", *names], rows),
      *(element("p", line, class_="note") for line in notes),
      *(
        details(f"Protocol of {label}", _protocol(record["protocol"]))
        for label, record in labelled.items()
      ),
    ]
  )


def front(runs: Sequence[Run]) -> Html:
  """Distance against images/s, of sweeps and of what tune found."""
  by_metric: dict[str, list[Curve]] = {}
  for run in runs:
    if run.sweep:
      own = by_metric.setdefault(run.sweep["metric"], [])
      own += _of_sweep(run, run.sweep["rows"])
    if run.tune:
      name = f"{run.tune['metric']}_of_{run.tune['images']}_images"
      by_metric.setdefault(name, []).append(_of_tune(run, run.tune))
  figures = [
    chart(
      "Quality against speed",
      curves,
      Axis("images/s (more is better)", log=True),
      Axis(f"{metric.replace('_', ' ')} (less is better)"),
    )
    for metric, curves in by_metric.items()
  ]
  if not figures:
    return Html("")
  return join(
    [
      element("div", *figures, class_="charts"),
      *(_best_overrides(run) for run in runs if run.tune),
    ]
  )


def speed(runs: Sequence[Run]) -> Html:
  """The table of mode benchmark, of each run that it was started for."""
  parts: list[Html] = []
  for run in runs:
    if run.benchmark is None:
      continue
    rows = [_speed_row(row) for row in run.benchmark["rows"]]

    note = (
      f"{run.benchmark['device']}, {run.benchmark['batch_size']} images at a "
      f"time, median of {run.benchmark['repeats']}; MFU of "
      f"{run.benchmark['peak_flops'] / 1e12:.3g} TFLOP/s, "
      f"{run.benchmark['peak_is']}"
    )
    parts += [element("h3", run.name)] * (len(runs) > 1)
    parts += [table(_SPEED, rows), element("p", note, class_="note")]
  return join(parts)


_SPEED = ("", "images/s", "cascade is", "NFE", "GFLOP/image", "MFU", "memory")


def _speed_row(row: Record) -> list[str]:
  return [
    row["name"],
    f"{row['images_per_second']:,.1f}",
    f"{row['cascade_speed_ratio']:.2f}x",
    " + ".join(map(str, row["nfe"].values())),
    f"{row['gflop_per_image']:.4g}",
    f"{100 * row['model_flops_utilisation']:.2f} %",
    readable(row["peak_memory_bytes"]),
  ]


def _count(value: Any) -> str:
  return f"{value:,}" if isinstance(value, int) else "-"


def _stages(sampling: Sequence[Record]) -> str:
  return " + ".join(str(stage["nfe"]) for stage in sampling) or "-"


def _beside_held_out(record: Record, name: str) -> str:
  value = record["generated"].get(name)
  other = (record["held_out"] or {}).get(name)
  if value is None:
    return "-"
  return f"{value:.4g}" + (f" ({other:.4g})" if other is not None else "")


def _protocol(whole: Mapping[str, Any]) -> Html:
  protocol = without_folders(dict(whole))
  rows = [
    [name, value if isinstance(value, str) else json.dumps(value)]
    for name, value in protocol.items()
    if name != "sampling"
  ]
  for stage in protocol.get("sampling", []):
    side = stage["resolution"]
    rows.append([f"stage {side}x{side}", json.dumps(stage)])
  return table(("entry", "value"), rows)


def _of_sweep(run: Run, rows: Sequence[Record]) -> list[Curve]:
  """All of a sweep's points, and its front."""
  points = [
    Point(row["name"], run.name, row["images_per_second"], row["distance"])
    for row in rows
  ]
  best = pareto_front(points)
  behind = [point for point in points if point not in best]
  return [
    _curve(run.name, run.colour, best),
    _curve("", run.colour, behind, line=False),
  ]


def _of_tune(run: Run, record: Record) -> Curve:
  points = [
    Point(
      f"{name} of tune: {' + '.join(map(str, row['nfe']))} evaluations",
      run.name,
      row["images_per_second"],
      row["distance"],
    )
    for name, row in record["schedules"].items()
  ]
  colour = between(run.colour, "var(--ink)", 0.6)
  return _curve(f"{run.name}, tuned", colour, points)


def _curve(
  name: str, colour: str, points: Sequence[Point], *, line: bool = True
) -> Curve:
  return Curve(
    name,
    colour,
    [(point.images_per_second, point.distance) for point in points],
    [
      f"{point.name}: {point.images_per_second:.4g} images/s, "
      f"{point.distance:.4g}"
      for point in points
    ],
    line,
  )


def _best_overrides(run: Run) -> Html:
  if run.tune is None:
    return Html("")
  fields = run.tune["schedules"]["best"]["overrides"]
  flags = " ".join(as_flags(fields))
  return details(
    f"The best schedule that tune found for {run.name}, as overrides",
    element("p", element("code", flags)),
  )
