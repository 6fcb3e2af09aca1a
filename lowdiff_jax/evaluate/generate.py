"""Images from a trained denoiser: the whole cascade as one jitted program."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from lowdiff_jax.diffusion import noise
from lowdiff_jax.diffusion.cascade import Stage, cascade
from lowdiff_jax.interfaces import NO_LABEL, Array, Denoiser

# (params, seed, indices [B], labels [B], low_res [B,h,w,C] in [-1,1] or None)
# -> (stage images, trajectories), uint8.
Generate = Callable[..., tuple[tuple[Array, ...], tuple[Array | None, ...]]]


class Generated(NamedTuple):
  """Some generated images.

  Attributes:
    indices: [N]; image i depends on the seed and on indices[i] alone.
    labels: [N].
    stages: the images after each stage, [N,r_k,r_k,C] uint8.
    trajectories: each stage's estimates, [steps,N,r_k,r_k,C] uint8, or None.
  """

  indices: np.ndarray
  labels: np.ndarray
  stages: tuple[np.ndarray, ...]
  trajectories: tuple[np.ndarray | None, ...]


def to_uint8(image: Array) -> Array:
  """[-1, 1] -> trunc(clip(127.5 x + 128, 0, 255)), as EDM rounds."""
  return jnp.clip(127.5 * image + 128, 0, 255).astype(jnp.uint8)


def from_uint8(image: Array) -> Array:
  """0..255 -> [-1, 1]."""
  return image.astype(jnp.float32) / 127.5 - 1


def make_generate(
  bind: Callable[[Any], Denoiser],
  stages: Sequence[Stage],
  *,
  channels: int,
  upsample: Callable[[Array], Array],
  mesh: Mesh,
  trajectory: bool = False,
) -> Generate:
  """Compiles the cascade.

  Args:
    bind: params -> denoiser.
    stages: the stages to run.
    channels: of the image.
    upsample: up2.
    mesh: the batch is split over all its devices.
    trajectory: whether to return the estimates too.

  Returns:
    The jitted generator; its results are on every process.
  """
  over_devices = NamedSharding(mesh, P(("data", "fsdp")))

  def generate(params, seed, indices, labels, low_res=None):
    indices, labels, low_res = jax.lax.with_sharding_constraint(
      (indices, labels, low_res), over_devices
    )
    images, trajectories = cascade(
      bind(params),
      noise.image_keys(seed, indices),
      stages,
      channels=channels,
      label=labels,
      low_res=low_res,
      upsample=upsample,
      trajectory=trajectory,
    )
    return jax.tree.map(to_uint8, (images, trajectories))

  return jax.jit(generate, out_shardings=NamedSharding(mesh, P()))


def labels_of(
  indices: np.ndarray, num_classes: int, label: int = NO_LABEL
) -> np.ndarray:
  """Image i gets class i mod num_classes, or `label` if that is a class."""
  if label != NO_LABEL or num_classes == 0:
    return np.full(len(indices), label, np.int32)
  return (indices % num_classes).astype(np.int32)


def generate_images(
  generate: Generate,
  params: Any,
  indices: np.ndarray,
  *,
  seed: int,
  batch_size: int,
  num_classes: int,
  label: int = NO_LABEL,
  low_res: np.ndarray | None = None,
) -> Iterator[Generated]:
  """Generates the images of `indices` in batches of one size.

  Args:
    generate: see `make_generate`.
    params: of the denoiser.
    indices: [N] which images.
    seed: of the run.
    batch_size: a multiple of the number of devices.
    num_classes: 0 without labels.
    label: one class for all images; `NO_LABEL` for all classes in turn.
    low_res: [N,h,w,C] uint8 images to start from.

  Yields:
    The images of each batch, in order; the last batch may be smaller.
  """
  for start in range(0, len(indices), batch_size):
    picks = np.arange(start, min(start + batch_size, len(indices)))
    # One shape, one compilation: the last batch repeats its last image.
    padded = np.pad(picks, (0, batch_size - len(picks)), mode="edge")
    labels = labels_of(indices[padded], num_classes, label)
    low = None if low_res is None else from_uint8(low_res[padded])
    images, trajectories = jax.device_get(
      generate(params, seed, indices[padded], labels, low)
    )
    count = len(picks)
    yield Generated(
      indices[picks],
      labels[:count],
      tuple(image[:count] for image in images),
      tuple(None if t is None else t[:, :count] for t in trajectories),
    )


def concatenate(batches: Iterator[Generated]) -> Generated:
  """All batches as one."""
  parts = list(batches)

  def join(arrays, axis=0):
    return None if arrays[0] is None else np.concatenate(arrays, axis)

  def columns(field):
    return zip(*(getattr(part, field) for part in parts), strict=True)

  return Generated(
    join([part.indices for part in parts]),
    join([part.labels for part in parts]),
    tuple(join(images) for images in columns("stages")),
    tuple(join(steps, axis=1) for steps in columns("trajectories")),
  )
