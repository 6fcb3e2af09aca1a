"""The laws of a Pareto front, and that it can be drawn."""

import json
import random

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

from lowdiff_jax.schedules.pareto import Point, draw, pareto_front, read, table
from lowdiff_jax.types import UserError


def point(speed, distance, **fields):
  name = f"{speed:g}/{distance:g}"
  return Point(name, "curve", speed, distance)._replace(**fields)


def dominated(a, points):
  return any(
    b.images_per_second >= a.images_per_second
    and b.distance <= a.distance
    and b[2:4] != a[2:4]
    for b in points
  )


@pytest.fixture(params=range(5))
def points(request):
  """Of few values, so that some are alike."""
  rng = random.Random(request.param)
  return [
    point(rng.randint(1, 6), rng.randint(1, 6), name=f"p{i}") for i in range(15)
  ]


def test_the_front_is_what_nothing_dominates(points):
  front = pareto_front(points)
  assert front
  for p in points:
    assert dominated(p, points) == (p not in front)


def test_the_front_rises_with_speed_and_has_no_order_but_its_own(points):
  front = pareto_front(points)
  speeds = [p.images_per_second for p in front]
  assert speeds == sorted(speeds)
  distances = [p.distance for p in front]
  assert distances == sorted(distances)
  random.Random(0).shuffle(points)
  assert pareto_front(points) == front


def test_of_equal_points_none_beats_the_other():
  twins = [point(1, 1, name="a"), point(1, 1, name="b")]
  assert pareto_front(twins) == twins
  assert pareto_front([point(1, 1), point(1, 2)]) == [point(1, 1)]
  assert pareto_front([point(1, 1), point(2, 1)]) == [point(2, 1)]
  assert pareto_front([]) == []


@pytest.mark.parametrize("distances", [(20, 24, 30), (3, 40, 300)])
def test_the_figure_is_a_picture(tmp_path, distances):
  points = [
    point(10.0 * (i + 1), distance, curve=f"curve {i % 2}", std=0.5)
    for i, distance in enumerate(distances)
  ]
  path = tmp_path / "front.png"
  draw(points, path, title="quality against speed", metric="fid")
  with Image.open(path) as image:
    assert image.width == 1400
    assert len(np.unique(np.asarray(image.convert("L")))) > 20


@pytest.mark.parametrize(("behind", "names"), [(19, 20), (20, 1)])
def test_of_many_points_only_those_of_the_front_are_named(
  tmp_path, monkeypatch, behind, names
):
  written = []
  annotate = Axes.annotate

  def spy(axes, text, *args, **kwargs):
    written.append(text)
    return annotate(axes, text, *args, **kwargs)

  monkeypatch.setattr(Axes, "annotate", spy)
  points = [point(1 + i / 10, 5, name=f"p{i}") for i in range(behind)]
  best = point(9, 1)
  draw([*points, best], tmp_path / "front.png", title="", metric="fid")
  assert len(written) == names and best.name in written


def test_one_point_without_a_spread_can_be_drawn(tmp_path):
  path = tmp_path / "front.png"
  draw([point(7, 0.0)], path, title="", metric="frechet distance")
  Image.open(path).verify()


def sweep(path, metric="fid", **row):
  row = {
    "name": "a",
    "images_per_second": 2.0,
    "distance": 3.0,
    "std": None,
    **row,
  }
  record = {"metric": metric, "curve": path.stem, "rows": [row]}
  path.write_text(json.dumps(record))
  return str(path)


def test_sweeps_of_several_runs_are_read(tmp_path):
  paths = [sweep(tmp_path / f"{name}.json") for name in "xy"]
  found = read(paths)
  assert found == [Point("a", curve, 2.0, 3.0) for curve in "xy"]
  assert "2.00    3.0000" in table(found)


def test_what_is_no_sweep_is_named(tmp_path):
  good = sweep(tmp_path / "good.json")
  other = sweep(tmp_path / "other.json", metric="sfid")
  with pytest.raises(UserError, match="not fid, sfid"):
    read([good, other])
  (tmp_path / "bad.json").write_text("{}")
  for name in ("bad.json", "missing.json"):
    with pytest.raises(UserError, match=f"{name} is not of --mode=sweep"):
      read([good, str(tmp_path / name)])
