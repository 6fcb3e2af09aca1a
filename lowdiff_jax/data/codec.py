"""Codecs: pixels as they are, or latents of an autoencoder."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from lowdiff_jax import console
from lowdiff_jax.diffusion import noise, pyramid
from lowdiff_jax.distributed import in_batches
from lowdiff_jax.types import AnyArray, Array, Codec


@jax.jit
def to_uint8(image: AnyArray) -> Array:
  """[-1, 1] -> trunc(clip(127.5 x + 128, 0, 255)), as EDM rounds."""
  return jnp.clip(127.5 * image + 128, 0, 255).astype(jnp.uint8)


def from_uint8(image: Any) -> Array:
  """0..255 -> [-1, 1]."""
  return image.astype(jnp.float32) / 127.5 - 1


def pixels(channels: int) -> Codec:
  """The denoiser works on images of that many channels."""
  return Codec(from_uint8, from_uint8, to_uint8, 1, channels)


def latents(
  load: Callable[[], tuple[Any, Any]],
  mean: np.ndarray,
  std: np.ndarray,
  *,
  factor: int,
  batch_size: int,
  mesh: Mesh,
) -> Codec:
  """The denoiser works on (z - mean) / std, z being a image's latent.

  Args:
    load: () -> (autoencoder, its parameters); called when they are needed.
    mean, std: [C] of each channel of the latents.
    factor: side of a image over that of its latent.
    batch_size: images that are encoded or decoded at a time.
    mesh: they are split over all its devices.

  Returns:
    The codec.
  """
  mean, std = (np.asarray(x, np.float32) for x in (mean, std))

  def normalise(z: Any) -> Any:
    return jax.tree.map(lambda z: (z.astype(jnp.float32) - mean) / std, z)

  def encode_batch(module: Any, params: Any, pictures: Array) -> Array:
    z, _ = module.apply(
      {"params": params}, from_uint8(pictures), method="encode"
    )
    return normalise(z)

  def decode_batch(module: Any, params: Any, x: Array) -> Array:
    return to_uint8(
      module.apply({"params": params}, x * std + mean, method="decode")
    )

  return Codec(
    normalise,
    in_batches("the encoder", encode_batch, load, batch_size, mesh),
    in_batches("the decoder", decode_batch, load, batch_size, mesh),
    factor,
    channels=3,
  )


def sample_posterior(keys: Array, mean: Array, logvar: Array | None) -> Array:
  """mean + exp(logvar / 2) eps; image i's eps depends on keys[i] alone.

  Args:
    keys: [B] one key per image.
    mean: [B,H,W,C].
    logvar: [B,H,W,C], or None for an autoencoder without a spread.

  Returns:
    [B,H,W,C], `mean` itself where there is no spread.
  """
  if logvar is None:
    return mean
  draw = jax.vmap(lambda key: jax.random.normal(key, mean.shape[1:]))
  return mean + jnp.exp(logvar / 2) * draw(keys)


def make_encoder(
  module: Any,
  params: Any,
  *,
  posterior: str,
  seed: int,
  resolutions: int,
  mesh: Mesh,
) -> Callable[[np.ndarray, np.ndarray], tuple[Array, ...]]:
  """What encodes the records of a latent data set.

  Args:
    module: the autoencoder.
    params: its parameters.
    posterior: "sample": a draw of it, or "mode".
    seed: of the draws; the one of record i depends on (seed, i) alone.
    resolutions: 1 for the image's latent; more for those of the image
      reduced by 2, 4, ... too.
    mesh: a batch is split over all its devices.

  Returns:
    (images [B,R,R,3] uint8, records [B]) -> latents, the lowest resolution
    first, each [B,r,r,C] float32.
  """
  over_devices = NamedSharding(mesh, P(("data", "fsdp")))

  def encode(params: Any, pictures: Array, records: Array) -> tuple[Array, ...]:
    pictures, records = jax.lax.with_sharding_constraint(
      (pictures, records), over_devices
    )
    keys = noise.image_keys(seed, records)

    def latent(image: Array) -> Array:
      mean, logvar = module.apply({"params": params}, image, method="encode")
      if posterior == "mode":
        return mean
      return sample_posterior(keys, mean, logvar)

    images = pyramid.pyramid(from_uint8(pictures), resolutions)
    return tuple(map(latent, images))

  run = console.Compiling(
    "the encoder", encode, out_shardings=NamedSharding(mesh, P())
  )
  return functools.partial(run, params)
