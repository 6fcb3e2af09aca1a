"""The readers that are tested, by name."""

from launch.fuzz.reader import Reader
from launch.fuzz.readers import (
  arrays,
  checkpoints,
  configs,
  images,
  latents,
  pickles,
  sets,
  weights,
)


def readers() -> dict[str, type[Reader]]:
  """All readers by name."""
  modules = (
    images,
    sets,
    arrays,
    weights,
    pickles,
    checkpoints,
    latents,
    configs,
  )
  return {r.name: r for module in modules for r in module.READERS}
