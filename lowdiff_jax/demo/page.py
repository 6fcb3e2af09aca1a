"""The demo page: a cascade that is built up stage by stage."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import gradio as gr

from lowdiff_jax.demo.player import (
  MOST_IMAGES,
  MOST_PICTURES,
  MOST_STEPS,
  Done,
  Player,
  Subject,
)
from lowdiff_jax.demo.shown import grid, table
from lowdiff_jax.diffusion.cascade import STARTS
from lowdiff_jax.experiment.overrides import as_flags
from lowdiff_jax.experiment.schema import leaves
from lowdiff_jax.types import NO_LABEL, UserError

# System fonts: the page loads nothing from elsewhere.
THEME = gr.themes.Default(
  font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
)
STYLE = """
.stage img { image-rendering: pixelated; }
.times { overflow-x: auto; }
.times th, .times td { padding: .3rem .4rem !important; font-size: .85rem;
  word-break: normal; overflow-wrap: normal; }
footer { display: none !important; }
/* A phone shows what is generated above the settings. */
@media (max-width: 640px) {
  .settings { order: 1; }
  .times th, .times td { padding: .2rem !important; font-size: .75rem; }
}
"""
# Uploads are deleted after so many seconds; all wait for the same device.
_KEPT = 600
_QUEUE = "device"


class _Control(NamedTuple):
  """A component of the form, and the field of the config that it sets."""

  field: str
  component: Any


class Page:
  """Builds the page of a model, and answers its buttons.

  Attributes:
    name: of the model.
  """

  def __init__(self, name: str, player: Player, baseline: Player | None):
    """Prepares it.

    Args:
      name: of the model.
      player: of the model.
      baseline: of the same network at the top resolution alone, if there is
        one.
    """
    self.name, self._player, self._baseline = name, player, baseline
    self._controls: list[_Control] = []

  def build(self) -> gr.Blocks:
    """The page, not yet served."""
    sides = " → ".join(f"{side}x{side}" for side in self._player.sides)
    with gr.Blocks(
      title=f"LowDiff: {self.name}",
      analytics_enabled=False,
      delete_cache=(_KEPT, _KEPT),
    ) as page:
      gr.Markdown(f"# LowDiff: {self.name}\nA cascade {sides}.")
      with gr.Row():
        with gr.Column(scale=1, min_width=300, elem_classes="settings"):
          label, seed = self._subject()
          self._stages()
        with gr.Column(scale=2, min_width=300):
          self._results(label, seed)
    page.queue(max_size=32)
    return page

  def _subject(self) -> tuple[gr.Dropdown, gr.Number]:
    classes = self._player.model.experiment.spec.num_classes
    choices = [
      ("all in turn", NO_LABEL),
      *((str(k), k) for k in range(classes)),
    ]
    label = gr.Dropdown(
      choices, value=NO_LABEL, label="Class", visible=bool(classes)
    )
    seed = gr.Number(0, label="Seed", precision=0, minimum=0)
    return label, seed

  def _stages(self) -> None:
    """The fields of each stage."""
    config = self._player.model.experiment.config
    values = leaves(config)
    guided = bool(config.model.label_dropout)
    for k, name in enumerate(self._player.stages):
      section = f"stages.{name}" if name != "baseline" else name
      side = self._player.sides[k]

      def add(field: str, component: Any, section: str = section) -> None:
        self._controls.append(_Control(f"{section}.{field}", component))

      with gr.Accordion(f"Stage {side}x{side}"):
        label = f"Steps at {side}x{side}"
        value = values[f"{section}.steps"]
        add("steps", gr.Slider(1, MOST_STEPS, value, step=1, label=label))
        if k:
          start = gr.Radio(
            STARTS,
            value=values[f"{section}.start"],
            label="Start",
            info="handoff: the image before, plus noise of the first level",
          )
          add("start", start)
        value = values[f"{section}.sigma_max"]
        add("sigma_max", gr.Number(value, label="First noise level"))
        if guided and f"{section}.guidance_scale" in values:
          value = values[f"{section}.guidance_scale"]
          scale = gr.Slider(1, 10, value, step=0.5, label="Guidance scale")
          add("guidance_scale", scale)

  def _results(self, label: gr.Dropdown, seed: gr.Number) -> None:
    fields = [control.component for control in self._controls]
    with gr.Tab("Generate"):
      count = gr.Slider(1, MOST_IMAGES, 16, step=1, label="Images")
      button = gr.Button("Generate", variant="primary")
      shown = self._pictures(with_baseline=True)
      table = gr.Markdown(elem_classes="times")
      text = gr.Textbox(
        label="This schedule as overrides",
        elem_id="overrides",
        lines=2,
        interactive=False,
        buttons=["copy"],
      )
      self._when_clicked(
        button,
        self.generate,
        [label, seed, count, *fields],
        [*shown, table, text],
      )
    if len(self._player.sides) > 1:
      with gr.Tab("Upscale"):
        pictures = gr.File(
          file_count="multiple", label=f"At most {MOST_PICTURES} pictures"
        )
        sides = self._player.sides[:-1]
        side = gr.Dropdown(
          [(f"{s}x{s}", s) for s in sides], value=sides[-1], label="Shrunk to"
        )
        button = gr.Button("Upscale", variant="primary")
        shown = self._pictures(with_baseline=False)
        table = gr.Markdown(elem_classes="times")
        inputs = [pictures, side, label, seed, *fields]
        self._when_clicked(button, self.upscale, inputs, [*shown, table])

  def _pictures(self, *, with_baseline: bool) -> list[gr.Image]:
    """An image for each stage, and for the baseline."""
    labels = [f"{side}x{side}" for side in self._player.sides]
    if with_baseline and self._baseline is not None:
      labels.append("baseline")
    shown = []
    with gr.Row():
      for label in labels:
        with gr.Column(min_width=130):
          gr.Markdown(f"**{label}**")
          image = gr.Image(
            label=label,
            show_label=False,
            format="png",
            interactive=False,
            buttons=["download"],
            elem_classes="stage",
          )
          shown.append(image)
    return shown

  def _when_clicked(
    self, button: gr.Button, answer: Any, inputs: Any, outputs: Any
  ) -> None:
    button.click(
      answer,
      inputs,
      outputs,
      concurrency_limit=1,
      concurrency_id=_QUEUE,
      show_progress="minimal",
      api_visibility="private",
    )

  def generate(
    self, label: int, seed: int, count: int, *values: Any
  ) -> Iterator[list[Any]]:
    """The images after each stage, then the baseline's; times; overrides."""
    player, fields = self._player, self._fields(values)
    pictures: list[Any] = [None] * len(player.sides)
    pictures += [None] * (self._baseline is not None)
    subject = Subject(seed, label, count)
    done: list[Done] = []
    flags = " ".join(as_flags(fields))
    yield [*pictures, "Running ...", flags]
    try:
      for one in player.play(player.with_fields(fields), subject):
        done.append(one)
        pictures[len(done) - 1] = grid(one.images, player.sides[-1])
        yield [*pictures, table(done), flags]
      if self._baseline is not None:
        stages = list(self._baseline.stages.values())
        (one,) = self._baseline.play(stages, subject)
        pictures[-1] = grid(one.images, player.sides[-1])
        yield [*pictures, table(done, one), flags]
    except UserError as error:
      raise gr.Error(str(error)) from error

  def upscale(
    self,
    files: Sequence[str] | None,
    side: int,
    label: int,
    seed: int,
    *values: Any,
  ) -> Iterator[list[Any]]:
    """Uploaded pictures, shrunk, after each of the later stages; times."""
    player, fields = self._player, self._fields(values)
    pictures: list[Any] = [None] * len(player.sides)
    try:
      small = player.read(files or [], side)
      first = player.sides.index(side)
      pictures[first] = grid(small, player.sides[-1])
      yield [*pictures, "Running ..."]
      done: list[Done] = []
      stages = player.with_fields(fields)[first + 1 :]
      subject = Subject(seed, label, len(small))
      for one in player.play(stages, subject, small):
        done.append(one)
        pictures[first + len(done)] = grid(one.images, player.sides[-1])
        yield [*pictures, table(done)]
    except UserError as error:
      raise gr.Error(str(error)) from error

  def _fields(self, values: Sequence[Any]) -> dict[str, Any]:
    names = [control.field for control in self._controls]
    return dict(zip(names, values, strict=True))
