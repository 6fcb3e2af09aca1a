"""The smallest experiment that is still one: `smoke` of tests/digits.py."""

import functools

import jax
import numpy as np
from ml_collections import ConfigDict

from lowdiff_jax.data.latents.info import LatentInfo
from lowdiff_jax.experiment.overrides import override, read_page
from lowdiff_jax.experiment.parts import build_experiment
from lowdiff_jax.experiment.schema import stage_sections
from lowdiff_jax.types import Batch, ImageSpec
from tests.command_line import REPOSITORY

SPEC = ImageSpec(8, 1, 10)


def config(arguments="smoke", name=None, resolutions=None, **fields):
  """A page of configs/, or tests/digits.py, with fields changed ("a.b": 1)."""
  page = f"configs/{name}.py" if name else "tests/digits.py"
  page = read_page(f"{REPOSITORY}/{page}:{arguments}")
  if resolutions is not None:
    sections = stage_sections(page)
    page.stages = ConfigDict(
      {f"s{r}": s for r, s in zip(resolutions, sections, strict=True)}
    )
  return override(page, fields)


def stages(**fields):
  """Fields of the digits' two stages, for `config`: steps=(3, 2)."""
  return {
    f"stages.{stage}.{name}": value
    for name, values in fields.items()
    for stage, value in zip(("s4", "s8"), values, strict=True)
  }


def experiment(arguments="smoke", devices=None, **fields):
  """Its parts; those of equal arguments are the same, and compile once."""
  return _built(arguments, None, devices and tuple(devices), **fields)


def new_experiment():
  """An experiment whose programs no other test has compiled."""
  return build_experiment(config(), SPEC)


def latent_experiment(devices=None, **fields):
  """The parts of imagenet256's smoke config: a LightningDiT."""
  fields = {"model.dtype": "float32", **fields}
  return _built("smoke", "imagenet256", devices and tuple(devices), **fields)


@functools.cache
def _built(arguments, name, devices, **fields):
  page, spec, latents = config(arguments, name, **fields), SPEC, None
  if name == "imagenet256":
    spec = ImageSpec(16, 4, 10)
    latents = LatentInfo(np.zeros(4), np.ones(4), (16,), {}, "")
  return build_experiment(page, spec, latents, devices=devices)


def trained_params(experiment):
  """None at its initial value, so that all inputs matter."""
  leaves, tree = jax.tree.flatten(experiment.init().params)
  rng = np.random.default_rng(0)
  leaves = [x + 0.1 * rng.standard_normal(x.shape, np.float32) for x in leaves]
  return jax.tree.unflatten(tree, leaves)


def batch(size=8, seed=0):
  """Images of noise."""
  rng = np.random.default_rng(seed)
  images = rng.integers(0, 256, (size, 8, 8, 1), np.uint8)
  return Batch(images, rng.integers(0, 10, size).astype(np.int32))
