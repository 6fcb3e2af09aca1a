"""Generates images with a trained denoiser; a cascade is one jitted program."""

import dataclasses
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from lowdiff_jax import console
from lowdiff_jax.diffusion import noise
from lowdiff_jax.diffusion.cascade import Cascaded, Stage, cascade
from lowdiff_jax.distributed import (
  AXES,
  ROWS,
  ahead,
  over_devices,
  replicated,
)
from lowdiff_jax.types import (
  NO_LABEL,
  Array,
  Batch,
  Denoiser,
  ImageSet,
  ImageSpec,
)

# (params, seed uint32, indices [B], labels [B], low_res [B,h,w,C] or None)
# -> `cascade.Cascaded`, in the denoiser's units.
Program = Any


class Request(NamedTuple):
  """Which images to generate: image i depends on (seed, i) and its label alone.

  Attributes:
    indices: [N] indices of the images.
    batch_size: images per batch, a multiple of the number of devices.
    seed: seed of all images, 0 to 2^32 - 1.
    label: class of all images; `NO_LABEL` for all classes in turn.
  """

  indices: np.ndarray
  batch_size: int
  seed: int = 0
  label: int = NO_LABEL


class Generated(NamedTuple):
  """Generated images.

  Attributes:
    indices: [N], see `Request`.
    labels: [N].
    stages: the images after each stage, [N,R_k,R_k,channels] uint8.
    trajectories: the clean estimates at each step of each stage,
      [steps,N,R_k,R_k,channels] uint8, or None.
  """

  indices: np.ndarray
  labels: np.ndarray
  stages: tuple[np.ndarray, ...]
  trajectories: tuple[np.ndarray | None, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Generator:
  """Generates images with a denoiser.

  Attributes:
    bind: params -> denoiser.
    spec: spec of the denoiser's images.
    decode: `Codec.decode`.
    mesh: a batch is split over all its devices.
  """

  bind: Callable[[Any], Denoiser]
  spec: ImageSpec
  decode: Callable[[Array], Array]
  mesh: Mesh
  _programs: dict[Hashable, Program] = dataclasses.field(
    default_factory=dict, init=False, repr=False
  )

  def program(
    self, stages: Sequence[Stage], *, trajectory: bool = False
  ) -> Program:
    """The jitted cascade; its results are replicated on all processes.

    Equal stages get the same program, which compiles once.
    """
    key = (tuple(stage.identity() for stage in stages), trajectory)
    if key not in self._programs:
      self._programs[key] = self._program(tuple(stages), trajectory)
    return self._programs[key]

  def _program(self, stages: tuple[Stage, ...], trajectory: bool) -> Program:
    def on_device(shared: Any, batch: Any) -> tuple[Any, ...]:
      params, seed = shared
      indices, labels, low_res = batch
      images, trajectories = cascade(
        self.bind(params),
        noise.image_keys(seed, indices),
        stages,
        channels=self.spec.channels,
        label=labels,
        low_res=low_res,
        trajectory=trajectory,
      )
      return images, trajectories

    mapped = over_devices(on_device, self.mesh, (ROWS, P(None, AXES)))

    def generate(
      params: Any,
      seed: Array,
      indices: Array,
      labels: Array,
      low_res: Array | None = None,
    ) -> Cascaded:
      return Cascaded(*mapped((params, seed), (indices, labels, low_res)))

    return console.Compiling(
      "the sampler", generate, out_shardings=replicated(self.mesh)
    )

  def generate(
    self,
    program: Program,
    params: Any,
    request: Request,
    *,
    low_res: Array | None = None,
    last_only: bool = False,
  ) -> Iterator[Generated]:
    """Generates images in batches of one size.

    The devices work ahead: see `distributed.ahead`.

    Args:
      program: the result of `program`.
      params: parameters of the denoiser.
      request: which images.
      low_res: [N,h,w,C] images to start from, in the denoiser's units.
      last_only: return the images of the last stage only.

    Yields:
      The images of each batch, in order; the last batch may be smaller.
    """
    shown = slice(-1 if last_only else None, None)

    def dispatched() -> Iterator[tuple[np.ndarray, np.ndarray, Any, Any]]:
      for picks, padded in _batches(len(request.indices), request.batch_size):
        labels = self.labels(request.indices[padded], request.label)
        images, trajectories = program(
          params,
          np.uint32(request.seed),
          request.indices[padded],
          labels,
          None if low_res is None else low_res[padded],
        )
        yield (
          request.indices[picks],
          labels[: len(picks)],
          [self.decode(x) for x in images[shown]],
          [self._decode_steps(steps) for steps in trajectories[shown]],
        )

    for batch in ahead(dispatched()):
      indices, labels, images, trajectories = jax.device_get(batch)
      count = len(indices)
      yield Generated(
        indices,
        labels,
        tuple(x[:count] for x in images),
        tuple(None if t is None else t[:, :count] for t in trajectories),
      )

  def images(self, program: Program, params: Any, request: Request) -> ImageSet:
    """The images of the last stage, generated when they are read."""

    def read(start: int) -> Iterator[Batch]:
      rest = request._replace(indices=request.indices[start:])
      for batch in self.generate(program, params, rest, last_only=True):
        yield Batch(batch.stages[-1], batch.labels)

    return ImageSet(len(request.indices), request.batch_size, read)

  def labels(self, indices: np.ndarray, label: int = NO_LABEL) -> np.ndarray:
    """Labels [N]: `label` if it is a class, else i mod num_classes."""
    num_classes = self.spec.num_classes
    if label != NO_LABEL or num_classes == 0:
      return np.full(len(indices), label, np.int32)
    return (indices % num_classes).astype(np.int32)

  def _decode_steps(self, steps: Array | None) -> Array | None:
    """Decodes a trajectory to [steps,B,R,R,channels]; None stays None."""
    if steps is None:
      return None
    decoded = self.decode(steps.reshape(-1, *steps.shape[2:]))
    return decoded.reshape(*steps.shape[:2], *decoded.shape[1:])


def _batches(
  count: int, batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """The positions in each batch, and the same padded to batch_size."""
  for start in range(0, count, batch_size):
    picks = np.arange(start, min(start + batch_size, count))
    # Batches of one shape compile once: the last one repeats its last image.
    yield picks, np.pad(picks, (0, batch_size - len(picks)), mode="edge")


def concatenate(batches: Iterable[Generated]) -> Generated:
  """Concatenates batches."""
  parts = list(batches)

  def join(arrays: Sequence[Any], axis: int = 0) -> Any:
    return None if arrays[0] is None else np.concatenate(arrays, axis)

  def columns(field: str) -> Iterator[tuple[Any, ...]]:
    return zip(*(getattr(part, field) for part in parts), strict=True)

  return Generated(
    np.concatenate([part.indices for part in parts]),
    np.concatenate([part.labels for part in parts]),
    tuple(join(images) for images in columns("stages")),
    tuple(join(steps, axis=1) for steps in columns("trajectories")),
  )
