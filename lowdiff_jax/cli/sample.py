"""Mode sample: numbered images, a grid, a strip of stages, a GIF if asked."""

import numpy as np
from ml_collections import ConfigDict

from lowdiff_jax import console, files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.distributed import is_main
from lowdiff_jax.experiment.named_models import load_for
from lowdiff_jax.experiment.trained import Trained
from lowdiff_jax.generate import grids
from lowdiff_jax.generate.generator import concatenate


def run(config: ConfigDict, workdir: AnyPath) -> None:
  """Writes images of the EMA weights to workdir/samples."""
  write_images(workdir, load_for(config, workdir))


def write_images(workdir: AnyPath, model: Trained) -> None:
  """Writes the images that the model's config asks for."""
  experiment = model.experiment
  section, generator = experiment.config.sampling, experiment.generator
  program = generator.program(experiment.stages, trajectory=section.gif)
  request = model.request(section.images, section.first_index, section.label)
  folder = workdir / "samples"
  shown, count = [], 0
  with console.taking(f"sampling {section.images} images"):
    for batch in generator.generate(program, model.params, request):
      # The grid needs no more, and all images may not fit in memory.
      if count < grids.IMAGES:
        shown.append(batch)
      count += len(batch.indices)
      if is_main():
        files.make_folder(folder)
        paths = (folder / f"{index:06d}.png" for index in batch.indices)
        grids.write_pngs(paths, batch.stages[-1])
  if not is_main():
    return
  first = concatenate(shown)
  images = first.stages[-1][: grids.IMAGES]
  grids.write_png(folder / "grid.png", grids.grid(images, grids.COLUMNS))
  rows = [stage[: grids.COLUMNS] for stage in first.stages]
  grids.write_png(folder / "strip.png", grids.strip(rows))
  if section.gif:
    grids.write_gif(
      folder / "denoising.gif",
      [np.asarray(steps)[:, : grids.IMAGES] for steps in first.trajectories],
      grids.COLUMNS,
    )
  print(
    f"{count} images of step {model.step} in {folder}, with grid.png, strip.png"
  )
