"""Opens the models of the demo page, and serves it."""

from typing import Any

from lowdiff_jax import console
from lowdiff_jax.demo import page
from lowdiff_jax.demo.player import Player
from lowdiff_jax.experiment import named_models
from lowdiff_jax.types import UserError

LARGEST_UPLOAD = "10mb"


def open_page(model: str, baseline: str | None = None) -> page.Page:
  """The page of a model.

  Args:
    model: see `named_models.find_trained`.
    baseline: likewise; None for MODEL-baseline, if there is one.

  Raises:
    UserError: there is no such model.
  """
  if baseline is None:
    baseline = named_models.beside(model)
  single = None
  if baseline is not None:
    single = Player(named_models.find_trained(baseline, {}))
  player = Player(named_models.find_trained(model, {}))
  return page.Page(named_models.find_model(model).name, player, single)


def serve(shown: page.Page, host: str, port: int) -> Any:
  """Serves a page in threads.

  Args:
    shown: the page.
    host: address to listen at.
    port: likewise.

  Returns:
    Gradio's blocks; `close` ends it.

  Raises:
    UserError: the address is used, or not of this machine.
  """
  blocks = shown.build()
  try:
    blocks.launch(
      server_name=host,
      server_port=port,
      share=False,
      max_file_size=LARGEST_UPLOAD,
      prevent_thread_lock=True,
      quiet=True,
      footer_links=[],
      ssr_mode=False,
      theme=page.THEME,
      css=page.STYLE,
    )
  except OSError as error:
    raise UserError(
      f"--port={port}: {host} cannot be listened at ({error}); choose another"
    ) from error
  console.say(f"{blocks.local_url} shows {shown.name}; Ctrl-C ends it")
  return blocks
