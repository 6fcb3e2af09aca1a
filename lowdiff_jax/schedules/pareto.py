"""Quality against speed: the Pareto front of several ways to sample.

  python -m lowdiff_jax.schedules.pareto RUN/sweep.json ... FIGURE.png

draws what --mode=sweep has found for several runs.
"""

import json
import sys
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox

from lowdiff_jax import files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.types import UserError

_COLOURS = colormaps["tab10"](range(10))
_MARKERS = "osD^"
# Of more points than these, only those of the fronts are named.
_NAMES = 20
# Tried in turn for a label, in points off its point: the nearest first.
_PLACES = [
  (x * far, y * far)
  for far in (5, 10, 17, 26, 38, 52)
  for x, y in (
    *((1, 0.6), (1, -0.6), (-1, 0.6), (-1, -0.6)),
    *((0.3, 1), (0.3, -1), (-0.3, 1), (-0.3, -1)),
  )
]


class Point(NamedTuple):
  """One way to sample.

  Attributes:
    name: of the point.
    curve: the name of what it belongs to.
    images_per_second: its speed.
    distance: the Frechet distance of its images, of which less is better.
    std: of the distance over ranges of seeds, if there are several.
  """

  name: str
  curve: str
  images_per_second: float
  distance: float
  std: float | None = None


def pareto_front(points: Sequence[Point]) -> list[Point]:
  """The Pareto-optimal points: no other is both faster and better.

  Of two of the same speed the better one, of two as good the faster one.

  Args:
    points: in any order.

  Returns:
    Those of the front, the slowest first.
  """
  front = [p for p in points if not any(_beats(other, p) for other in points)]
  return sorted(front, key=lambda p: (p.images_per_second, p.distance, p.name))


def _beats(a: Point, b: Point) -> bool:
  speed = a.images_per_second - b.images_per_second
  gain = b.distance - a.distance
  return speed >= 0 and gain >= 0 and (speed > 0 or gain > 0)


def draw(
  points: Sequence[Point], path: AnyPath, *, title: str, metric: str
) -> None:
  """Writes a PNG: a colour for each curve, and a line along its front.

  Of many points only those of the fronts have their names.

  Args:
    points: at least one.
    path: of the PNG.
    title: of the figure.
    metric: what the distance is called.
  """
  figure = Figure(figsize=(7, 5.5), dpi=200, layout="constrained")
  canvas = FigureCanvasAgg(figure)
  axes = figure.add_subplot()
  curves, named = list(dict.fromkeys(point.curve for point in points)), []
  for number, curve in enumerate(curves):
    own = [point for point in points if point.curve == curve]
    named += _draw_curve(axes, curve, own, number)
  axes.set_xscale("log")
  _write_numbers(axes.xaxis, [point.images_per_second for point in points])
  distances = [point.distance for point in points]
  # One bad point should not press the others to the ground.
  if 0 < 4 * min(distances) < max(distances):
    axes.set_yscale("log")
    _write_numbers(axes.yaxis, distances)
  axes.margins(0.12)
  axes.set_title(title, fontsize=10)
  axes.set_xlabel("images/s (more is better)", fontsize=9)
  axes.set_ylabel(f"{metric} (less is better)", fontsize=9)
  axes.tick_params(labelsize=8)
  axes.grid(alpha=0.25, linewidth=0.5)
  axes.spines[["top", "right"]].set_visible(False)
  figure.legend(
    loc="outside lower center",
    ncols=min(len(curves), 5),
    fontsize=8,
    frameon=False,
  )
  _write_labels(axes, canvas, points, named if len(points) > _NAMES else points)
  with files.replacing(path) as partial:
    figure.savefig(partial, format="png")


def _draw_curve(
  axes: Axes, curve: str, points: Sequence[Point], number: int
) -> list[Point]:
  """The points with their error bars, pale behind the front; the front."""
  front = pareto_front(points)
  behind = [point for point in points if point not in front]
  style = {
    "color": _COLOURS[number % len(_COLOURS)],
    "marker": _MARKERS[number // len(_COLOURS) % len(_MARKERS)],
    "markersize": 5,
    "linewidth": 1.4,
    "elinewidth": 1,
    "capsize": 2,
  }
  for group, extra in (
    (front, {"label": curve}),
    (behind, {"alpha": 0.35, "linestyle": "none"}),
  ):
    axes.errorbar(
      [point.images_per_second for point in group],
      [point.distance for point in group],
      yerr=[point.std or 0.0 for point in group],
      **style,
      **extra,
    )
  return front


def _write_numbers(axis: Axis, values: Sequence[float]) -> None:
  """Ticks of a logarithmic axis, be it of one decade or less."""
  wide = max(values) > 3 * min(values)
  axis.set_major_locator(
    LogLocator(subs=(1, 2, 3, 5)) if wide else MaxNLocator(6)
  )
  axis.set_minor_locator(NullLocator())
  axis.set_major_formatter("{x:g}")


def _write_labels(
  axes: Axes,
  canvas: FigureCanvasAgg,
  points: Sequence[Point],
  named: Sequence[Point],
) -> None:
  """Each of these names near its point, where no other name or point is."""
  figure = canvas.figure
  figure.draw_without_rendering()
  figure.set_layout_engine("none")  # What has been measured must stay.
  renderer = canvas.get_renderer()
  radius = figure.dpi * 3 / 72
  places = axes.transData.transform(
    [(point.images_per_second, point.distance) for point in points]
  )
  taken = [
    Bbox.from_bounds(x - radius, y - radius, 2 * radius, 2 * radius)
    for x, y in places
  ]
  for point in named:
    text = axes.annotate(
      point.name,
      (point.images_per_second, point.distance),
      xytext=_PLACES[0],
      textcoords="offset points",
      fontsize=6.5,
      color="0.25",
      zorder=1,  # Its line ends below the point.
      arrowprops={"arrowstyle": "-", "linewidth": 0.3, "color": "0.6"},
    )
    for x, y in _PLACES:
      text.set_position((x, y))
      text.set_horizontalalignment("left" if x > 0 else "right")
      text.set_verticalalignment("bottom" if y > 0 else "top")
      # That of an annotation would hold its line as well.
      text.update_positions(renderer)
      box = Text.get_window_extent(text, renderer)
      inside = axes.bbox.contains(*box.min) and axes.bbox.contains(*box.max)
      if inside and not box.count_overlaps(taken):
        break
    taken.append(box)


def read(paths: Sequence[AnyPath | str]) -> list[Point]:
  """The points of files that mode sweep has written, a curve for each.

  Raises:
    UserError: a file that is none, or of another figure than the first.
  """
  points, metrics = [], {}
  for path in map(files.expanded, paths):
    try:
      record = json.loads(path.read_text())
      metrics[record["metric"]] = path
      points += [
        Point(
          row["name"],
          record["curve"],
          row["images_per_second"],
          row["distance"],
          row["std"],
        )
        for row in record["rows"]
      ]
    except (OSError, ValueError, KeyError, TypeError) as error:
      raise UserError(f"{path} is not of --mode=sweep: {error!r}") from error
  if len(metrics) != 1:
    raise UserError(f"expected sweeps of one figure, not {', '.join(metrics)}")
  return points


def table(points: Sequence[Point]) -> str:
  """A row for each point, the slowest first; "*" on its curve's front."""
  width = max(len(point.name) for point in points)
  lines = [f"{'':{width}}{'images/s':>10}{'distance':>10}{'std':>9}"]
  for curve in dict.fromkeys(point.curve for point in points):
    own = [point for point in points if point.curve == curve]
    best = pareto_front(own)
    lines.append(curve)
    for point in sorted(own, key=lambda p: p.images_per_second):
      std = "-" if point.std is None else f"{point.std:.2g}"
      lines.append(
        f"{point.name:{width}}{point.images_per_second:10.2f}"
        f"{point.distance:10.4f}{std:>9}{' *' if point in best else ''}"
      )
  return "\n".join(lines)


if __name__ == "__main__":
  try:
    *sweeps, figure = map(files.expanded, sys.argv[1:] or [""])
    found = read(sweeps)
    print(table(found))
    name = json.loads(sweeps[0].read_text())["metric"]
    draw(found, figure, title="quality against speed", metric=name)
  except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)
