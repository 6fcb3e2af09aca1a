"""Images from a trained denoiser: the whole cascade as one jitted program."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from lowdiff_jax.data.codec import to_uint8
from lowdiff_jax.diffusion import noise
from lowdiff_jax.diffusion.cascade import Stage, cascade
from lowdiff_jax.types import NO_LABEL, Array, Denoiser

# How a batch is split.
OVER_DEVICES = P(("data", "fsdp"))

# (params, seed, indices [B], labels [B], low_res [B,h,w,C] or None)
# -> (stage images, trajectories), in the denoiser's units.
Generate = Callable[..., tuple[tuple[Array, ...], tuple[Array | None, ...]]]


class Generated(NamedTuple):
  """Some generated images.

  Attributes:
    indices: [N]; image i depends on the seed and on indices[i] alone.
    labels: [N].
    stages: the pictures after each stage, [N,R_k,R_k,channels] uint8.
    trajectories: of each stage's estimates, [steps,N,R_k,R_k,channels] uint8;
      or None.
  """

  indices: np.ndarray
  labels: np.ndarray
  stages: tuple[np.ndarray, ...]
  trajectories: tuple[np.ndarray | None, ...]


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
  over_devices = NamedSharding(mesh, OVER_DEVICES)

  def generate(params, seed, indices, labels, low_res=None):
    indices, labels, low_res = jax.lax.with_sharding_constraint(
      (indices, labels, low_res), over_devices
    )
    return cascade(
      bind(params),
      noise.image_keys(seed, indices),
      stages,
      channels=channels,
      label=labels,
      low_res=low_res,
      upsample=upsample,
      trajectory=trajectory,
    )

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
  low_res: Array | None = None,
  decode: Callable[[Array], Array] = to_uint8,
  last_only: bool = False,
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
    low_res: [N,h,w,C] images to start from, in the denoiser's units.
    decode: of the codec.
    last_only: leave out the pictures of all stages but the last.

  Yields:
    The images of each batch, in order; the last batch may be smaller.
  """
  for start in range(0, len(indices), batch_size):
    picks = np.arange(start, min(start + batch_size, len(indices)))
    # One shape, one compilation: the last batch repeats its last image.
    padded = np.pad(picks, (0, batch_size - len(picks)), mode="edge")
    labels = labels_of(indices[padded], num_classes, label)
    low = None if low_res is None else low_res[padded]
    images, trajectories = generate(params, seed, indices[padded], labels, low)
    count, shown = len(picks), slice(-1 if last_only else None, None)
    yield Generated(
      indices[picks],
      labels[:count],
      tuple(np.asarray(decode(image))[:count] for image in images[shown]),
      tuple(_decode_steps(decode, t, count) for t in trajectories[shown]),
    )


def _decode_steps(decode, steps, count):
  """[steps,count,R,R,channels] from a batch's estimates, if there are any."""
  if steps is None:
    return None
  decoded = np.asarray(decode(steps.reshape(-1, *steps.shape[2:])))
  return decoded.reshape(*steps.shape[:2], *decoded.shape[1:])[:, :count]


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
