"""LowDiff in JAX: diffusion sampling as a cascade of resolutions.

    import lowdiff_jax as ld
    model = ld.load("runs/digits")
    images = model.sample(16, seed=0, label=3)

docs/library.md shows what else there is. Names are imported when they are
first used, so that importing the package is fast and starts no backend.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  # ruff: noqa: F401
  from lowdiff_jax.api import config, fit, load
  from lowdiff_jax.data.splits import Data, from_arrays
  from lowdiff_jax.diffusion.cascade import Cascaded, Stage, cascade
  from lowdiff_jax.diffusion.guidance import Guidance
  from lowdiff_jax.diffusion.noise import flow_sigmas as flow
  from lowdiff_jax.diffusion.noise import image_keys
  from lowdiff_jax.diffusion.noise import karras_sigmas as karras
  from lowdiff_jax.diffusion.sampler import (
    SAMPLERS,
    DPMpp2M,
    Euler,
    Heun,
    Sampler,
  )
  from lowdiff_jax.experiment.defaults import latents, pixels, set_stages
  from lowdiff_jax.generate.grids import grid, strip
  from lowdiff_jax.generate.samples import Samples
  from lowdiff_jax.model import Model
  from lowdiff_jax.models.unified import UnifiedDenoiser
  from lowdiff_jax.types import Batch, Condition, Denoiser

__version__ = "0.2.0"

# Name -> module, and the name there if it is another.
_HOMES = {
  "Batch": "types",
  "Cascaded": "diffusion.cascade",
  "Condition": "types",
  "DPMpp2M": "diffusion.sampler",
  "Denoiser": "types",
  "Euler": "diffusion.sampler",
  "Guidance": "diffusion.guidance",
  "Heun": "diffusion.sampler",
  "Model": "model",
  "SAMPLERS": "diffusion.sampler",
  "Sampler": "diffusion.sampler",
  "Samples": "generate.samples",
  "Stage": "diffusion.cascade",
  "UnifiedDenoiser": "models.unified",
  "cascade": "diffusion.cascade",
  "config": "api",
  "fit": "api",
  "flow": "diffusion.noise:flow_sigmas",
  "from_arrays": "data.splits",
  "grid": "generate.grids",
  "pixels": "experiment.defaults",
  "latents": "experiment.defaults",
  "set_stages": "experiment.defaults",
  "Data": "data.splits",
  "image_keys": "diffusion.noise",
  "karras": "diffusion.noise:karras_sigmas",
  "load": "api",
  "strip": "generate.grids",
}
__all__ = [
  "__version__",
  *_HOMES,
]


def __getattr__(name: str) -> Any:
  home = _HOMES.get(name)
  if home is None:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
  module, _, there = home.partition(":")
  found = getattr(
    importlib.import_module(f"{__name__}.{module}"), there or name
  )
  globals()[name] = found
  return found


def __dir__() -> list[str]:
  return sorted(__all__)
