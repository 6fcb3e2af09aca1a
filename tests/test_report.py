"""The report of a run: in a real browser, and its charts by hand."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from lowdiff_jax.cli import report
from lowdiff_jax.report import chart, html
from lowdiff_jax.report import run as reported
from lowdiff_jax.report.page import page
from lowdiff_jax.types import UserError
from tests import browser, command_line, tiny

ROW = {
  "images_per_second": 100.0,
  "nfe": {"4x4": 3, "8x8": 2},
  "cascade_speed_ratio": 1.0,
  "gflop_per_image": 0.01,
  "model_flops_utilisation": 0.02,
  "peak_memory_bytes": 2**21,
}
RECORDS = {
  "benchmark": {
    "device": "1 x cpu",
    "jax": "0",
    "batch_size": 10,
    "repeats": 2,
    "peak_flops": 1e12,
    "peak_is": "an estimate",
    "rows": [{"name": "cascade", **ROW}],
  },
  "sweep": {
    "metric": "frechet_distance_of_20_images",
    "rows": [
      {"name": name, "images_per_second": speed, "distance": distance}
      for name, speed, distance in (
        ("fast", 300.0, 2.0),
        ("good", 100.0, 1.0),
        ("<i>bad</i>", 90.0, 3.0),
      )
    ],
  },
  "tune": {
    "metric": "frechet_distance",
    "images": 20,
    "schedules": {
      "config": {"images_per_second": 50.0, "distance": 1.5, "nfe": [3, 2]},
      "best": {
        "images_per_second": 200.0,
        "distance": 1.4,
        "nfe": [2, 1],
        "overrides": {"stages.s4.steps": 2},
      },
    },
  },
}


@pytest.fixture(scope="module")
def runs(once, tmp_path_factory):
  """Two runs, of which one has all that a report shows."""
  folder = tmp_path_factory.mktemp("report")
  for name in ("first", "second"):
    ignored = shutil.ignore_patterns("checkpoints", "tensorboard", ".*")
    shutil.copytree(once / "run", folder / name, ignore=ignored)
  for name, record in RECORDS.items():
    (folder / "first" / f"{name}.json").write_text(json.dumps(record))
  big = np.zeros((1500, 1200, 3), np.uint8)
  Image.fromarray(big).save(folder / "first" / "samples" / "grid.png")
  with (folder / "second" / "metrics.jsonl").open("a") as file:
    file.write('{"step": 11, "lo')  # A write that was cut short.
  return folder


@pytest.fixture(scope="module")
def written(runs):
  """The report that the command has written."""
  done = command_line.run(
    f"--workdir={runs}/first",
    "--mode=report",
    f"--config.report.beside={runs}/second",
  )
  assert done.returncode == 0, done.stderr
  path = runs / "first" / "report.html"
  assert done.stdout == f"2 runs in {path}\n"
  return path


def test_the_page_in_a_browser(written):
  with browser.chromium() as chromium:
    for width, scheme in (
      (browser.LAPTOP, "light"),
      (browser.PHONE, "dark"),
    ):
      shown, errors = browser.opened(
        chromium, f"file://{written}", width, color_scheme=scheme
      )
      assert shown.title() == "first, second"
      assert browser.fits(shown) and errors == []
      broken = "[...document.images].filter(i => !i.naturalWidth).length"
      assert shown.evaluate(broken) == 0
      # Strip, grid and two evaluations of each run.
      assert shown.locator("img").count() == 8
      paper = shown.evaluate("getComputedStyle(document.body).backgroundColor")
      dark = sum(map(int, re.findall(r"\d+", paper))) < 300
      assert dark == (scheme == "dark")
      # Losses and noise levels of two stages, two metrics, one front.
      assert shown.locator("figure svg").count() == 2 + 4 + 2 + 1
      protocol = shown.get_by_text("images_trained_on").first
      assert not protocol.is_visible()
      shown.get_by_text("Protocol of first").click()
      assert protocol.is_visible()
      shown.get_by_text("as overrides").click()
      assert shown.get_by_text("--config.stages.s4.steps=2").is_visible()


def test_fields_of_the_config_that_differ_are_as_in_flags(written):
  text = written.read_text()
  # Tuples that are what they are by default are no difference.
  assert "sampling.churn_interval" not in text and "plan.programs" not in text
  rows = dict(re.findall(r"<td[^>]*>(model\.\w+)</td>(.*?)</tr>", text))
  assert ">(2,)</b>" in rows["model.channel_mult"]
  assert ">(2, 2, 2)</span>" in rows["model.channel_mult"]
  assert ">()</b>" in rows["model.attn_resolutions"]


def test_nothing_is_loaded_and_every_text_is_escaped(written, runs):
  text = written.read_text()
  assert "<script" not in text and "<i>bad" not in text
  assert "&lt;i&gt;bad&lt;/i&gt;" in text
  for address in re.findall(r'(?:src|href)="([^"]*)', text):
    assert address.startswith(("data:image/", "#"))
  assert str(runs) not in text  # A report may be published.
  assert len(text) < 500_000


def test_what_is_missing_is_named_with_its_mode(runs):
  text = page(reported.read([runs / "second"]))
  for mode in ("--mode=sweep or tune", "--mode=benchmark"):
    assert f"Nothing yet: {mode} writes it." in text
  assert "<b>tfds:digits</b>" in text and "tfds:cifar10" in text


def test_mistakes_name_the_field_or_the_file(runs, tmp_path):
  beside = tiny.config(**{"report.beside": str(tmp_path)})
  with pytest.raises(UserError, match=r"config\.report\.beside.* no run"):
    report.run(beside, runs / "second")
  with pytest.raises(UserError, match="train first"):
    report.run(tiny.config(), tmp_path)
  damaged = tmp_path / "damaged"
  shutil.copytree(runs / "second", damaged)
  (damaged / "benchmark.json").write_text("{}")
  with pytest.raises(UserError, match=r"damaged cannot be read \(it lacks"):
    report.run(tiny.config(), damaged)


def test_a_chart_by_hand():
  curve = chart.Curve("a", "red", [(0, 1.0), (5, float("nan")), (10, 2.0)])
  drawn = chart.chart("t", [curve], chart.Axis("x", log=False), chart.Axis("y"))
  # Margins of 1/25 of the range, within 50 ... 410 and 210 ... 8.
  first, last = 50 + 360 * 0.4 / 10.8, 50 + 360 * 10.4 / 10.8
  low, high = 210 - 202 * 0.04 / 1.08, 210 - 202 * 1.04 / 1.08
  assert f'd="M{first:.1f} {low:.1f}L{last:.1f} {high:.1f}"' in drawn
  labels = re.findall(r"<text[^>]*>([^<]*)</text>", drawn)
  assert labels[:5] == ["1", "1.25", "1.5", "1.75", "2"]
  empty = chart.Curve("a", "red", [(1, float("inf"))])
  assert chart.chart("t", [empty], chart.Axis("x"), chart.Axis("y")) == ""


@pytest.mark.parametrize(
  ("low", "high", "labels"),
  [
    (1e-3, 1.0, ["0.001", "0.01", "0.1", "1"]),
    (0.2, 0.9, ["0.2", "0.5"]),
    (3.0, 3.0, ["2.75", "3", "3.25"]),
  ],
)
def test_ticks(low, high, labels):
  curve = chart.Curve("", "red", [(1, low), (2, high)])
  drawn = chart.chart("t", [curve], chart.Axis("x"), chart.Axis("y", log=True))
  found = re.findall(r'text-anchor="end"[^>]*>([0-9.]+)<', drawn)
  assert set(labels) <= set(found) and 3 <= len(found) <= 8


def test_text_is_escaped_once():
  assert html.element("b", "<", html.element("i", "&")) == (
    "<b>&lt;<i>&amp;</i></b>"
  )
  assert html.element("a", href='"') == '<a href="&quot;"></a>'
