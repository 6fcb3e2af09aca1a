"""Charts of curves as inline SVG, coloured by the page's style."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from lowdiff_jax.report.html import Html, element, join

_WIDTH, _HEIGHT = 420, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 10, 8, 40
# Of more points than these a curve shows every k-th, and of fewer marks.
_POINTS, _MARKS = 400, 40
# The least ratio of values that is drawn on a logarithmic axis.
_DECADES = 4.0


class Curve(NamedTuple):
  """Points of one colour.

  Attributes:
    name: in the legend; "" for none.
    colour: in CSS.
    points: (x, y) in order.
    labels: of the points, shown under the pointer.
    line: whether they are joined; if not, they are faint.
  """

  name: str
  colour: str
  points: Sequence[tuple[float, float]]
  labels: Sequence[str] = ()
  line: bool = True


class Axis(NamedTuple):
  """An axis; `log` is for noise levels and speeds, and None for a choice."""

  label: str
  log: bool | None = None


class _Scale(NamedTuple):
  """Values -> positions, and the values at which there are ticks."""

  place: Callable[[float], float]
  ticks: list[float]


def chart(title: str, curves: Sequence[Curve], x: Axis, y: Axis) -> Html:
  """A figure of curves; what is not finite is left out.

  Args:
    title: above it.
    curves: at least one.
    x: what the first number of each point is.
    y: what the second is.

  Returns:
    The figure, or nothing if there is no point.
  """
  curves = [_finite(curve) for curve in curves]
  points = [point for curve in curves for point in curve.points]
  if not points:
    return Html("")
  across = _scale([p[0] for p in points], x.log, _LEFT, _WIDTH - _RIGHT)
  up = _scale([p[1] for p in points], y.log, _HEIGHT - _BOTTOM, _TOP)
  svg = element(
    "svg",
    *_axes(across, up, x.label),
    *(_draw(curve, across, up) for curve in curves),
    viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
    role="img",
    aria_label=title,
  )
  names = [
    element("span", curve.name, style=f"--own: {curve.colour}")
    for curve in curves
    if curve.name and curve.points
  ]
  return element(
    "figure",
    element("figcaption", title),
    *([element("div", y.label, class_="legend")] if y.label else []),
    svg,
    *([element("div", *names, class_="legend")] if len(names) > 1 else []),
  )


def between(first: str, last: str, share: float) -> str:
  """A colour between two, in CSS: the first at 0, the last at 1."""
  return f"color-mix(in oklab, {last} {100 * share:.0f}%, {first})"


def short(value: float) -> str:
  """A number as on an axis: 192k, 1.5M, 0.05."""
  for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
    if abs(value) >= unit:
      return f"{value / unit:.3g}{name}"
  return f"{value:.3g}"


def _finite(curve: Curve) -> Curve:
  labels = curve.labels or [
    f"{curve.name} {short(x)}: {y:.4g}" for x, y in curve.points
  ]
  kept = [
    (point, label)
    for point, label in zip(curve.points, labels, strict=True)
    if all(map(math.isfinite, point))
  ]
  if not kept:
    return curve._replace(points=(), labels=())
  every = -(-len(kept) // _POINTS)
  last = kept[-1:] if (len(kept) - 1) % every else []
  points, labels = zip(*kept[::every], *last, strict=True)
  return curve._replace(points=points, labels=labels)


def _scale(
  values: Sequence[float], log: bool | None, start: float, end: float
) -> _Scale:
  """Linear, or logarithmic where values are positive and far apart."""
  low, high = min(values), max(values)
  if log is None:
    log = low > 0 and high > _DECADES * low
  log = log and low > 0
  if low == high:
    margin = abs(low) / 10 or 1.0
    low, high = low - margin, high + margin
  if log:
    low, high = low / 1.08, high * 1.08
    ticks = _decades(low, high)

    def share(value: float) -> float:
      return math.log(value / low) / math.log(high / low)
  else:
    margin = (high - low) / 25
    low, high = low - margin, high + margin
    ticks = _even(low, high)

    def share(value: float) -> float:
      return (value - low) / (high - low)

  return _Scale(lambda value: start + share(value) * (end - start), ticks)


def _decades(low: float, high: float) -> list[float]:
  """1, 2 and 5 times powers of ten, or the powers alone if those are many."""
  powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
  for digits in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
    ticks = [digit * 10.0**power for power in powers for digit in digits]
    ticks = [tick for tick in ticks if low <= tick <= high]
    if len(ticks) >= 3:
      return ticks[:: -(-len(ticks) // 7)]
  return _even(low, high)


def _even(low: float, high: float) -> list[float]:
  """Four to eight round numbers at equal distances."""
  step = 10 ** math.floor(math.log10((high - low) / 4))
  step *= max(k for k in (1, 2, 2.5, 5, 10) if k * step <= (high - low) / 3.5)
  first = math.ceil(low / step)
  return [k * step for k in range(first, math.floor(high / step) + 1)]


def _axes(across: _Scale, up: _Scale, label: str) -> list[Html]:
  bottom = _HEIGHT - _BOTTOM
  drawn = []
  for tick in up.ticks:
    at = f"{up.place(tick):.1f}"
    line = f"M{_LEFT} {at}H{_WIDTH - _RIGHT}"
    drawn.append(element("path", d=line, class_="grid"))
    drawn.append(_text(short(tick), _LEFT - 6, at, "end", dy="0.35em"))
  for tick in across.ticks:
    at = f"{across.place(tick):.1f}"
    drawn.append(_text(short(tick), at, bottom + 16, "middle"))
  return [*drawn, _text(label, _WIDTH - _RIGHT, _HEIGHT - 6, "end")]


def _text(
  text: str, x: str | float, y: str | float, anchor: str, **more: str
) -> Html:
  return element("text", text, x=x, y=y, text_anchor=anchor, **more)


def _draw(curve: Curve, across: _Scale, up: _Scale) -> Html:
  places = [
    (f"{across.place(x):.1f}", f"{up.place(y):.1f}") for x, y in curve.points
  ]
  parts = []
  if curve.line and len(places) > 1:
    parts.append(element("path", d="M" + "L".join(map(" ".join, places))))
  if not curve.line or len(places) <= _MARKS:
    parts += [
      element("circle", element("title", label), cx=x, cy=y, r=3)
      for (x, y), label in zip(places, curve.labels, strict=True)
    ]
  faint = "curve" if curve.line else "faint"
  return element("g", join(parts), class_=faint, style=f"--own: {curve.colour}")
