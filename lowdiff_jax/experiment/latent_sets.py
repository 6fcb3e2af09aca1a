"""From a config to its data set of latents, encoded if it is not yet."""

import functools
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from lowdiff_jax import console, distributed, files, locks
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.data import codec
from lowdiff_jax.data.datasets.tfds_set import data_folder
from lowdiff_jax.data.decode import WHITE
from lowdiff_jax.data.latents import reader
from lowdiff_jax.data.latents.info import LatentInfo
from lowdiff_jax.data.latents.shards import Layout
from lowdiff_jax.data.latents.writer import Processes, write_latents
from lowdiff_jax.experiment.codecs import (
  load_autoencoder,
  make_autoencoder,
)
from lowdiff_jax.experiment.errors import naming
from lowdiff_jax.experiment.image_sets import open_splits
from lowdiff_jax.experiment.paths import data_dir, file_of, path_of
from lowdiff_jax.experiment.schema import resolutions
from lowdiff_jax.models.weights import state_dict
from lowdiff_jax.types import ImageSource, UserError

# Training depends on these; the rest of the provenance is information.
MATTERS = ("autoencoder", "resolution", "pyramid")


def open_latents(
  config: ConfigDict,
) -> tuple[ImageSource, ImageSource, LatentInfo]:
  """The latents to train on and those held out, encoded if they are not yet.

  Args:
    config: the config.

  Returns:
    Both splits, and how they were made.

  Raises:
    UserError: there is nothing to encode, or the latents are not of this
      config's autoencoder, resolution or pyramid.
  """
  folder = latents_folder(config)
  missing = not (folder / reader.MANIFEST).is_file()
  distributed.barrier("latents")  # Before any of them can change the answer.
  if missing:
    encode(config)
  with console.taking(f"checking the latents in {folder}"):
    train, test, info = reader.open_latents(folder)
  wanted = _provenance(config, load_autoencoder(config).sha256)
  for name in MATTERS:
    made = info.provenance.get(name)
    if made != wanted[name]:
      raise UserError(
        f"the latents in {folder} are of {name} = {made}, and "
        f"the config says {wanted[name]}: set --config.latents.dir to others, "
        "or to an empty folder to encode anew"
      )
  if config.latents.statistics:
    mean, std = read_statistics(config, len(info.mean))
    info = info._replace(mean=mean, std=std)
  return train, test, info


def encode(config: ConfigDict) -> AnyPath:
  """Encodes the images of the config; goes on where it was interrupted.

  Of several programs that need them, the first encodes and the others wait.

  Args:
    config: the config.

  Returns:
    The folder of the latents.

  Raises:
    UserError: images or weights are missing, or the folder holds other latents.
  """
  folder = latents_folder(config)
  section = config.latents
  try:
    images = open_images(config)
  except UserError as error:
    raise UserError(f"no latents in {folder}, and no images: {error}") from None
  loaded = load_autoencoder(config)
  # Each process encodes shards of its own.
  mesh = distributed.make_mesh(devices=jax.local_devices())
  encoder = codec.make_encoder(
    loaded.module,
    loaded.params,
    posterior=section.posterior,
    seed=config.seed,
    resolutions=_resolutions(config),
    mesh=mesh,
  )
  files.make_folder(folder)
  with locks.owned(folder, "encode", wait=True):
    write_latents(
      dict(zip(("train", "test"), images, strict=True)),
      encoder,
      folder,
      provenance=_provenance(config, loaded.sha256),
      layout=Layout(section.flip, section.shard_images),
      batch_size=distributed.whole_batch(config.autoencoder.batch_size, mesh),
      processes=Processes(
        jax.process_index(),
        jax.process_count(),
        functools.partial(distributed.barrier, "latents"),
      ),
    )
  return folder


def open_images(config: ConfigDict) -> tuple[ImageSource, ImageSource]:
  """The images that are encoded, those to train on and those held out."""
  return open_splits(config, image_side(config))


def latents_folder(config: ConfigDict) -> AnyPath:
  """config.latents.dir, or a folder beside TFDS's sets."""
  if config.latents.dir:
    return path_of(config, "latents.dir")
  name = config.data.source.rstrip("/").replace(":", "/").split("/")[-1]
  name = f"{name}_{image_side(config)}_{config.autoencoder.kind}"
  return data_folder(data_dir(config)) / "latents" / name


def image_side(config: ConfigDict) -> int:
  """Side of the images that are encoded, in pixels."""
  return resolutions(config)[-1] * make_autoencoder(config).factor


def read_statistics(
  config: ConfigDict, channels: int
) -> tuple[np.ndarray, np.ndarray]:
  """Mean and std [C] from a published file, where they may be [1,C,1,1].

  Args:
    config: the config, with the file's name in latents.statistics.
    channels: C.

  Returns:
    (mean, std) float32.

  Raises:
    UserError: the file cannot be read, or holds no such numbers.
  """
  path = file_of(config, "latents.statistics")
  with naming("config.latents.statistics"):
    state = state_dict.read_state(path)
    if not {"mean", "std"} <= state.keys():
      raise UserError(f"{path} has no mean and std")
    mean, std = (state[name].reshape(-1) for name in ("mean", "std"))
    numeric = all(array.dtype.kind in "fV" for array in (mean, std))
    if not numeric or not mean.shape == std.shape == (channels,):
      raise UserError(
        f"{path}: mean and std are {mean.dtype} {mean.shape} and {std.dtype} "
        f"{std.shape}, expected {channels} numbers each"
      )
    mean, std = mean.astype(np.float32), std.astype(np.float32)
    if not (np.isfinite(mean) & np.isfinite(std) & (std > 0)).all():
      raise UserError(f"{path}: mean and std must be finite, and std above 0")
  return mean, std


def _resolutions(config: ConfigDict) -> int:
  """The number of latents per image."""
  reencode = config.latents.pyramid == "reencode"
  return len(config.stages) if reencode else 1


def _provenance(config: ConfigDict, sha256: str) -> dict[str, Any]:
  """Everything that a latent depends on."""
  background = config.data.background
  return {
    # Sets of version 0.2 do not name theirs.
    **({} if background == WHITE else {"background": background}),
    "source": config.data.source,
    "crop": config.data.crop,
    "hold_out": config.data.hold_out,
    "resolution": image_side(config),
    "autoencoder": sha256,
    "kind": config.autoencoder.kind,
    "pyramid": config.latents.pyramid,
    "resolutions": _resolutions(config),
    "posterior": config.latents.posterior,
    "flip": config.latents.flip,
    "seed": config.seed,
  }
