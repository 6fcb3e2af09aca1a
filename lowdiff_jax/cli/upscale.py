"""Mode upscale: the user's small images through the remaining stages."""

from ml_collections import ConfigDict

from lowdiff_jax import console, files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.data.datasets.folder import read_small_images
from lowdiff_jax.distributed import is_main
from lowdiff_jax.experiment.errors import naming
from lowdiff_jax.experiment.image_sets import image_decoder
from lowdiff_jax.experiment.named_models import load_for
from lowdiff_jax.experiment.paths import file_of
from lowdiff_jax.generate import grids
from lowdiff_jax.generate.generator import concatenate
from lowdiff_jax.types import UserError

# The name of the image that shows each stage.
STRIP = "strip"


def run(config: ConfigDict, workdir: AnyPath) -> None:
  """Writes config.upscale.input at the top resolution to workdir/upscaled."""
  if not config.upscale.input:
    raise UserError(
      "config.upscale.input is empty: set --config.upscale.input=PATH to an "
      "image or a folder of images"
    )
  model = load_for(config, workdir)
  experiment = model.experiment
  codec, generator = experiment.codec, experiment.generator
  sides = [codec.factor * stage.resolution for stage in experiment.stages]
  with naming("config.upscale.input"):
    names, low_res = read_small_images(
      file_of(config, "upscale.input"),
      sides[:-1],
      codec.channels,
      image_decoder(config),
    )
  if STRIP in names:
    raise UserError(
      f"config.upscale.input: rename {STRIP}: upscaled/{STRIP}.png shows each "
      "stage"
    )
  first = sides.index(low_res.shape[1]) + 1
  request = model.request(len(names), label=config.sampling.label)
  with console.taking(f"upscaling {len(names)} images"):
    images = concatenate(
      generator.generate(
        generator.program(experiment.stages[first:]),
        model.params,
        request,
        low_res=codec.encode(low_res),
      )
    )
  if not is_main():
    return
  folder = workdir / "upscaled"
  files.make_folder(folder)
  paths = [folder / f"{name}.png" for name in names]
  for parent in {path.parent for path in paths}:
    files.make_folder(parent)
  grids.write_pngs(paths, images.stages[-1])
  rows = [stage[: grids.COLUMNS] for stage in (low_res, *images.stages)]
  grids.write_png(folder / f"{STRIP}.png", grids.strip(rows))
  print(f"{len(names)} images in {folder}; strip.png shows each stage")
