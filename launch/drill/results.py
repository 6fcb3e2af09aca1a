"""What a run has made, to be compared with what another one has."""

import json
from typing import Any

from etils import epath

from launch.drill.training import Run
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.experiment.latent_sets import latents_folder

# Of the logs, what a clock says.
_TIMED = ("images_per_second", "goodput/")


def results(run: Run) -> dict[str, Any]:
  """All that a run has made, as bytes and numbers."""
  root, config = epath.Path(run.workdir), run.config()
  logs = map(json.loads, (root / "metrics.jsonl").read_text().splitlines())
  scores = [json.loads(path.read_text()) for path in root.glob("scores/*.json")]
  return {
    "state": [array.tobytes() for array in run.last_state()],
    "losses": [
      {name: x for name, x in log.items() if not name.startswith(_TIMED)}
      for log in logs
      if "loss" in log
    ],
    "samples": _bytes(root / "samples"),
    "scores": [(score["generated"], score["held_out"]) for score in scores],
    "latents": (
      _bytes(epath.Path(latents_folder(config)))
      if config.data.space == "latents"
      else {}
    ),
  }


def _bytes(folder: AnyPath) -> dict[str, bytes]:
  return {
    path.name: path.read_bytes()
    for path in folder.iterdir()
    if not path.name.startswith(".")
  }
