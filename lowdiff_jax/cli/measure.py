"""Mode measure: the noise settings that the training images suggest."""

from ml_collections import ConfigDict

from lowdiff_jax import console, files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.data.scales import measure_scales
from lowdiff_jax.diffusion.settings import RECIPES, Scale, Settings, propose
from lowdiff_jax.distributed import is_main
from lowdiff_jax.experiment.errors import naming
from lowdiff_jax.experiment.parts import build_experiment
from lowdiff_jax.experiment.schema import (
  resolutions,
  stage_names,
  stage_sections,
)
from lowdiff_jax.experiment.sources import open_data
from lowdiff_jax.experiment.training import batch_size


def run(config: ConfigDict, workdir: AnyPath) -> None:
  """Measures all training images; writes workdir/measure.json."""
  data = open_data(config)
  source, sections = data.train, stage_sections(config)
  codec = build_experiment(config, source.spec, data.latents).codec
  with console.taking(f"measuring {len(source)} images"):
    scales = measure_scales(
      source,
      resolutions(config),
      normalise=codec.normalise,
      batch_size=batch_size(config),
    )
  starts = [section.start for section in sections]
  with naming("config.stages"):
    proposals = propose(scales, starts, RECIPES[config.model.precondition])
  overrides = {
    f"config.stages.{name}.{field}": value
    for name, section, proposal in zip(
      stage_names(config), sections, proposals, strict=True
    )
    for field, value in proposal._asdict().items()
    if field in section  # A flow has no sigma_data.
  }
  if not is_main():
    return
  record = {
    "source": config.data.source,
    "images": len(source),
    "start": starts,
    "measured": [scale._asdict() for scale in scales],
    "proposed": overrides,
  }
  path = workdir / "measure.json"
  files.write_json(path, record)
  print(_table(len(source), scales, proposals))
  print("\nTo train and sample with this:\n")
  print(" \\\n".join(f"  --{n}={v}" for n, v in overrides.items()))
  print(f"\nin full: {path}")


def _table(images: int, scales: list[Scale], proposals: list[Settings]) -> str:
  names = ("images", "rms", "residual", *Settings._fields)
  lines = [f"{'':10}" + "".join(f"{name:>12}" for name in names)]
  for scale, proposal in zip(scales, proposals, strict=True):
    side = f"{scale.resolution}x{scale.resolution}"
    residual = "-" if scale.residual is None else f"{scale.residual:.4f}"
    lines.append(
      f"{side:10}{images:12}{scale.sigma_data:12.4f}{residual:>12}"
      + "".join(f"{value:12g}" for value in proposal)
    )
  return "\n".join(lines)
