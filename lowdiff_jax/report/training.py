"""Sections of a report on training: losses, distances, samples over time."""

import io
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.reading import reading
from lowdiff_jax.report.chart import Axis, Curve, between, chart, short
from lowdiff_jax.report.html import Html, element, image, join
from lowdiff_jax.report.run import Run

_IMAGES = Axis("images seen in training", log=False)
_LOSS = Axis("loss, weighted as in training")
# Pictures of each run, and the most pixels of a side that are kept.
_PICTURES, _SIDE = 8, 1000


def losses(runs: Sequence[Run]) -> Html:
  """The training loss of each stage, a curve for each run."""
  stages = dict.fromkeys(stage for run in runs for stage in run.stages())
  return _charts(
    chart(
      f"Training loss at {stage}",
      _curves(runs, f"loss/{stage}"),
      _IMAGES,
      _LOSS,
    )
    for stage in stages
  )


def noise_levels(runs: Sequence[Run]) -> Html:
  """The loss on held-out images at fixed noise levels: run by run."""
  figures = []
  for run in runs:
    for stage in run.stages():
      names = run.names(f"validation/{stage}/sigma_")
      curves = []
      for k, name in enumerate(names):
        colour = between("var(--c0)", "var(--c6)", k / max(len(names) - 1, 1))
        level = name.rpartition("_")[2]
        curves.append(Curve(f"sigma {level}", colour, run.curve(name)))
      title = f"Held-out loss at {stage}, by noise level"
      figures.append(chart(_of(run, runs, title), curves, _IMAGES, _LOSS))
  return _charts(figures)


def progress(runs: Sequence[Run]) -> Html:
  """The metrics of the few images that each evaluation generates."""
  names = dict.fromkeys(name for run in runs for name in run.names("score/"))
  return _charts(
    chart(
      name.removeprefix("score/").replace("_", " ").capitalize(),
      _curves(runs, name),
      _IMAGES,
      Axis(""),
    )
    for name in names
  )


def samples(runs: Sequence[Run]) -> Html:
  """The grids of images of each evaluation, the first to the last."""
  rows = []
  for run in runs:
    paths = _evenly(sorted(run.folder.glob("samples/step_*.png")))
    rows.append(_pictures(run, runs, paths, "pictures small"))
  return join(rows)


def cascade(runs: Sequence[Run]) -> Html:
  """The images after each stage, and the grid and the GIF of mode sample."""
  names = ("strip.png", "grid.png", "denoising.gif")
  rows = []
  for run in runs:
    paths = [run.folder / "samples" / name for name in names]
    rows.append(_pictures(run, runs, [path for path in paths if path.exists()]))
  return join(rows)


def _curves(runs: Sequence[Run], name: str) -> list[Curve]:
  return [Curve(run.name, run.colour, run.curve(name)) for run in runs]


def _of(run: Run, runs: Sequence[Run], title: str) -> str:
  return title if len(runs) == 1 else f"{title}: {run.name}"


def _charts(figures: Iterable[Html]) -> Html:
  drawn = join(figures)
  return element("div", drawn, class_="charts") if drawn else Html("")


def _evenly(paths: Sequence[AnyPath]) -> list[AnyPath]:
  """At most `_PICTURES` of them, the first and the last included."""
  count = min(len(paths), _PICTURES)
  picks = np.linspace(0, len(paths) - 1, count).round().astype(int)
  return [paths[k] for k in picks]


def _pictures(
  run: Run,
  runs: Sequence[Run],
  paths: Sequence[AnyPath],
  style: str = "pictures",
) -> Html:
  """A row of pictures under the name of the run."""
  if not paths:
    return Html("")
  figures = [
    element("figure", _embedded(path), _caption(path, run)) for path in paths
  ]
  row = element("div", *figures, class_=style)
  return join([element("h3", run.name), row] if len(runs) > 1 else [row])


_CAPTIONS = {
  "strip": "the first images at each stage",
  "grid": "images",
  "denoising": "clean estimates at each step",
}


def _caption(path: AnyPath, run: Run) -> Html:
  text = _CAPTIONS.get(path.stem, path.stem.replace("_", " "))
  for record in run.log:
    if path.stem == f"step_{record['step']:08d}" and "images" in record:
      text = f"after {short(record['images'])} images"
  return element("figcaption", text)


def _embedded(path: AnyPath) -> Html:
  """A picture as it is, or as a smaller WebP if it is large."""
  with reading(path):
    content = path.read_bytes()
    with Image.open(io.BytesIO(content)) as picture:
      if path.suffix == ".gif" or max(picture.size) <= _SIDE:
        return image(content, f"image/{path.suffix[1:]}", path.stem)
      picture.thumbnail((_SIDE, _SIDE))
      smaller = io.BytesIO()
      picture.save(smaller, format="WEBP", quality=90)
  return image(smaller.getvalue(), "image/webp", path.stem)
