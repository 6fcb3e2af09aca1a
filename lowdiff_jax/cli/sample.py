"""Mode sample: numbered images, a grid, a strip of stages, a GIF if asked."""

from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from lowdiff_jax.distributed import is_main
from lowdiff_jax.experiment import Experiment, trained
from lowdiff_jax.generate import grids
from lowdiff_jax.generate.generator import concatenate, generate_images

GRID_IMAGES, GRID_COLUMNS = 100, 10


def run(config: ConfigDict, workdir: Path) -> None:
  """Writes images of the averaged parameters to workdir/samples."""
  write_images(workdir, *trained.load(config, workdir))


def write_images(
  workdir: Path, experiment: Experiment, params: Any, step: int
) -> None:
  """The images of `run`, from parameters after `step` steps."""
  section, generate = experiment.config.sampling, experiment.generate
  if section.gif:
    generate = experiment.generator(experiment.stages, trajectory=True)
  batches = generate_images(
    generate,
    params,
    np.arange(section.first, section.first + section.images),
    seed=section.seed,
    batch_size=trained.batch_size(section.batch_size, section.images),
    num_classes=experiment.spec.num_classes,
    label=section.label,
    decode=experiment.codec.decode,
  )
  folder = workdir / "samples"
  shown, count = [], 0
  for batch in batches:
    # The pictures need no more, and all images may not fit in memory.
    if count < GRID_IMAGES:
      shown.append(batch)
    count += len(batch.indices)
    if is_main():
      folder.mkdir(exist_ok=True)
      for index, image in zip(batch.indices, batch.stages[-1], strict=True):
        grids.write_png(folder / f"{index:06d}.png", image)
  if not is_main():
    return
  shown = concatenate(shown)
  images = shown.stages[-1][:GRID_IMAGES]
  grids.write_png(folder / "grid.png", grids.grid(images, GRID_COLUMNS))
  rows = [stage[:GRID_COLUMNS] for stage in shown.stages]
  grids.write_png(folder / "strip.png", grids.strip(rows))
  if section.gif:
    grids.write_gif(
      folder / "denoising.gif",
      [estimates[:, :GRID_IMAGES] for estimates in shown.trajectories],
      GRID_COLUMNS,
    )
  print(f"{count} images of step {step} in {folder}, with grid.png, strip.png")
