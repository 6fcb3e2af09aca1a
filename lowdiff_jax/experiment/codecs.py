"""From a config to the codec: pixels, or an autoencoder and its weights."""

import functools
import hashlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from ml_collections import ConfigDict

from lowdiff_jax import console, files
from lowdiff_jax.data import codec
from lowdiff_jax.data.latents.info import LatentInfo
from lowdiff_jax.experiment.paths import file_of
from lowdiff_jax.models.autoencoders import kl, taef2
from lowdiff_jax.models.weights import state_dict
from lowdiff_jax.models.weights.autoencoder_layouts import (
  autoencoder_params,
  taef2_params,
)
from lowdiff_jax.types import Autoencoder, Codec, ImageSpec, UserError

# As config.autoencoder.weights: not trained at all.
RANDOM = "random"


class Loaded(NamedTuple):
  """An autoencoder, its parameters, and the sha256 of its file."""

  module: Autoencoder
  params: Any
  sha256: str


def make_autoencoder(config: ConfigDict) -> Autoencoder:
  """The Flax module that config.autoencoder describes."""
  section = config.autoencoder
  if section.kind == "taef2":
    return taef2.TAEF2()
  return kl.KLAutoencoder(
    channels=section.channels,
    channel_mult=section.channel_mult,
    num_blocks=section.num_blocks,
    attn_resolutions=section.attn_resolutions,
    latent_channels=section.latent_channels,
    resolution=section.resolution,
    dtype=jnp.dtype(section.dtype),
  )


def load_autoencoder(config: ConfigDict) -> Loaded:
  """The autoencoder with its published weights.

  Args:
    config: the config.

  Returns:
    The module, its parameters and which weights they are.

  Raises:
    UserError: there is no such file, or it is of another network.
  """
  section = config.autoencoder
  path = file_of(config, "autoencoder.weights")
  if section.weights != RANDOM and not path.exists():
    raise UserError(
      f"config.autoencoder.weights: there is no {path}; get it as "
      "docs/data.md says"
    )
  module: Any = make_autoencoder(config)  # Flax modules are hashable.
  return _load(module, section.kind, section.weights)


@functools.lru_cache(maxsize=1)
def _load(module: Any, kind: str, weights: str) -> Loaded:
  image = jnp.zeros((1, 8 * module.factor, 8 * module.factor, 3))
  init = functools.partial(module.init, jax.random.key(0), image)
  if weights == RANDOM:
    params = jax.jit(init)()["params"]
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(jax.device_get(params)):
      digest.update(leaf.tobytes())
    return Loaded(module, params, digest.hexdigest())
  path = files.local(files.expanded(weights))
  translate = {"ldm": autoencoder_params, "taef2": taef2_params}[kind]
  with console.taking(f"loading {path}"):
    params = state_dict.exactly(
      jax.eval_shape(init)["params"], translate(state_dict.read_state(path))
    )
    sha256 = state_dict.file_hash(path)
  console.say(f"autoencoder {path}, sha256 {sha256}")
  return Loaded(module, jax.tree.map(jnp.asarray, params), sha256)


def make_codec(
  config: ConfigDict, spec: ImageSpec, info: LatentInfo | None, mesh: Mesh
) -> Codec:
  """The codec of the config's images.

  Args:
    config: the config.
    spec: of the images.
    info: how they were encoded, if they are latents.
    mesh: of the devices.

  Returns:
    The codec. It needs the autoencoder's weights when it encodes or decodes,
    and not before.
  """
  if config.data.space == "pixels":
    return codec.pixels(spec.channels)
  if info is None:
    raise ValueError("latents need to be known: build with their LatentInfo")
  provenance = info.provenance

  def load() -> tuple[Any, Any]:
    loaded = load_autoencoder(config)
    made_with = provenance["autoencoder"]
    if loaded.sha256 != made_with:
      raise UserError(
        f"config.autoencoder.weights: {config.autoencoder.weights} is not what "
        f"these latents were made with: sha256 {loaded.sha256}, expected "
        f"{made_with}"
      )
    return loaded.module, loaded.params

  return codec.latents(
    load,
    info.mean,
    info.std,
    factor=make_autoencoder(config).factor,
    batch_size=config.autoencoder.batch_size,
    mesh=mesh,
  )
