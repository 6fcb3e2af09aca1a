"""Mode measure: the noise settings that the training images suggest."""

import functools
from pathlib import Path

from ml_collections import ConfigDict

from lowdiff_jax import files
from lowdiff_jax.data.scales import measure
from lowdiff_jax.diffusion import pyramid
from lowdiff_jax.diffusion.settings import REFERENCES, Scale, Settings, propose
from lowdiff_jax.distributed import is_main
from lowdiff_jax.experiment import build_experiment, open_data

# Where a config keeps what is proposed.
SECTIONS = {
  "sigma_data": "stages",
  "p_mean": "stages",
  "p_std": "stages",
  "sigma_max": "sampling",
}


def run(config: ConfigDict, workdir: Path) -> None:
  """Measures all training images; writes workdir/measure.json."""
  data = open_data(config)
  source, section = data.train, config.stages
  codec = build_experiment(config, source.spec, data.latents).codec
  scales = measure(
    source,
    section.resolutions,
    normalise=codec.normalise,
    upsample=functools.partial(pyramid.upsample, method=section.upsample),
    batch_size=max(section.images),
  )
  reference = REFERENCES[config.model.precondition]
  proposals = propose(scales, config.sampling.start, reference)
  overrides = {
    f"config.{SECTIONS[name]}.{name}": values
    for name, values in zip(
      Settings._fields, zip(*proposals, strict=True), strict=True
    )
    if name in config[SECTIONS[name]]  # A flow has no sigma_data.
  }
  if not is_main():
    return
  record = {
    "source": config.data.source,
    "images": len(source),
    "upsample": section.upsample,
    "start": config.sampling.start,
    "measured": [scale._asdict() for scale in scales],
    "proposed": overrides,
  }
  path = workdir / "measure.json"
  files.write_json(path, record)
  print(_table(len(source), scales, proposals))
  print("\nTo train and sample with this:\n")
  print(" \\\n".join(f'  --{n}="{v}"' for n, v in overrides.items()))
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
