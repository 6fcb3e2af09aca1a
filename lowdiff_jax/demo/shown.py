"""What the demo page shows: grids, and a table of times."""

from collections.abc import Sequence

import numpy as np

from lowdiff_jax.demo.player import Done
from lowdiff_jax.generate import grids


def grid(images: np.ndarray, side: int) -> np.ndarray:
  """A grid of images that are enlarged to one side, [H,W,3]."""
  columns = int(np.ceil(np.sqrt(len(images))))
  drawn = grids.grid(grids.enlarge(images, side), columns)
  return drawn.repeat(3, axis=-1) if drawn.shape[-1] == 1 else drawn


def table(done: Sequence[Done], baseline: Done | None = None) -> str:
  """Markdown: evaluations and seconds of each stage, and of all."""
  rows = ["| | evaluations | seconds | images/s |", "|---|---:|---:|---:|"]

  def add(name: str, parts: Sequence[Done]) -> float:
    evaluations = sum(one.stage.nfe for one in parts)
    seconds = sum(one.seconds for one in parts)
    speed = len(parts[0].images) / seconds
    rows.append(f"| {name} | {evaluations} | {seconds:.3f} | {speed:,.1f} |")
    return seconds

  for one in done:
    side = one.images.shape[1]
    add(f"{side}x{side}", [one])
  whole = add("cascade", done)
  if baseline is not None:
    stage = baseline.stage
    name = f"baseline, {stage.steps} steps of {stage.sampler.name}"
    ratio = add(name, [baseline]) / whole
    rows.append(f"\nThe cascade is **{ratio:.1f}x** as fast as the baseline.")
  return "\n".join(rows)
