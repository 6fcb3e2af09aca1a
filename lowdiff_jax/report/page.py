"""The page of a report: all sections on one or several runs."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import lowdiff_jax
from lowdiff_jax.report import html, results, settings, training
from lowdiff_jax.report.html import Html, element
from lowdiff_jax.report.run import Run
from lowdiff_jax.report.style import STYLE


class _Section(NamedTuple):
  """A section: its title, what makes it, and what it is made from."""

  title: str
  make: Callable[[Sequence[Run]], Html]
  source: str


_SECTIONS = (
  _Section("Cascade", training.cascade, "--mode=sample"),
  _Section("Scores", results.scores, "--mode=evaluate"),
  _Section("Quality against speed", results.front, "--mode=sweep or tune"),
  _Section("Speed", results.speed, "--mode=benchmark"),
  _Section("Training loss", training.losses, "training"),
  _Section("Loss by noise level", training.noise_levels, "training"),
  _Section("Metrics during training", training.progress, "training"),
  _Section("Samples over time", training.samples, "training"),
  _Section("Config", settings.config, "training"),
  _Section("Environment", settings.environment, "training"),
)


def page(runs: Sequence[Run]) -> str:
  """One HTML file that needs no other.

  Args:
    runs: at least one; of several, each has a colour.

  Returns:
    Its text.
  """
  title = ", ".join(run.name for run in runs)
  sections = [_section(section, runs) for section in _SECTIONS]
  links = [
    element("a", section.title, href=f"#{_anchor(section)}")
    for section in _SECTIONS
  ]
  return html.page(
    title,
    STYLE,
    element("h1", title),
    settings.summary(runs),
    settings.legend(runs),
    element("nav", *links),
    *sections,
    element(
      "p",
      f"Written by --mode=report of lowdiff_jax {lowdiff_jax.__version__}.",
      class_="note",
    ),
  )


def _section(section: _Section, runs: Sequence[Run]) -> Html:
  content = section.make(runs) or element(
    "p", f"Nothing yet: {section.source} writes it.", class_="note"
  )
  head = element("h2", section.title)
  return element("section", head, content, id=_anchor(section))


def _anchor(section: _Section) -> str:
  return section.title.lower().replace(" ", "-")
