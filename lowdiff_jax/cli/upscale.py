"""Mode upscale: the user's small images through the remaining stages."""

from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from lowdiff_jax.cli.sample import GRID_COLUMNS
from lowdiff_jax.data.datasets.folder import read_small_images
from lowdiff_jax.distributed import is_main
from lowdiff_jax.experiment import trained
from lowdiff_jax.generate import grids
from lowdiff_jax.generate.generator import concatenate, generate_images
from lowdiff_jax.types import UserError


def run(config: ConfigDict, workdir: Path) -> None:
  """Writes config.upscale.input at the top resolution to workdir/upscaled."""
  if not config.upscale.input:
    raise UserError(
      "config.upscale.input is empty: set --config.upscale.input=PATH to an "
      "image or a folder of images"
    )
  experiment, params, _ = trained.load(config, workdir)
  codec = experiment.codec
  sides = [codec.factor * stage.resolution for stage in experiment.stages]
  names, low_res = read_small_images(
    Path(config.upscale.input), sides[:-1], codec.channels
  )
  first = sides.index(low_res.shape[1]) + 1
  images = concatenate(
    generate_images(
      experiment.generator(experiment.stages[first:]),
      params,
      np.arange(len(names)),
      seed=config.sampling.seed,
      batch_size=trained.batch_size(config.sampling.batch_size, len(names)),
      num_classes=0,
      label=config.sampling.label,
      low_res=codec.encode(low_res),
      decode=codec.decode,
    )
  )
  if not is_main():
    return
  folder = workdir / "upscaled"
  folder.mkdir(exist_ok=True)
  for name, image in zip(names, images.stages[-1], strict=True):
    grids.write_png(folder / f"{name}.png", image)
  rows = [stage[:GRID_COLUMNS] for stage in (low_res, *images.stages)]
  grids.write_png(folder / "strip.png", grids.strip(rows))
  print(f"{len(names)} images in {folder}; strip.png shows each stage")
