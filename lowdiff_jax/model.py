"""A trained cascade, to sample and to measure."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ml_collections import ConfigDict

from lowdiff_jax import files, locks
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.diffusion.cascade import Stage
from lowdiff_jax.experiment import memory, model_folder, rules, speeds
from lowdiff_jax.experiment.speeds import Speeds
from lowdiff_jax.experiment.trained import Trained
from lowdiff_jax.generate.generator import Request, concatenate
from lowdiff_jax.generate.samples import Samples
from lowdiff_jax.types import NO_LABEL, Array, Condition, ImageSpec

if TYPE_CHECKING:
  from lowdiff_jax.experiment.tuning import Tuned


class Model:
  """A trained cascade.

  Attributes:
    config: of the run: `model.config.stages.s32.steps`.
    spec: resolution and channels of the denoiser's images, number of classes.
    stages: of sampling, from the config.
    images_seen: in training.
  """

  def __init__(self, trained: Trained):
    self._trained = trained
    experiment = trained.experiment
    self.config: ConfigDict = experiment.config
    self.spec: ImageSpec = experiment.spec
    self.stages: tuple[Stage, ...] = experiment.stages
    self.images_seen = trained.images_seen

  @property
  def params(self) -> Any:
    """The EMA weights, as a tree of arrays."""
    return self._trained.params

  def denoiser(self, noisy: Array, sigma: Array, condition: Condition) -> Array:
    """D(noisy; sigma, condition), the clean estimate (EDM, arXiv 2206.00364).

    Args:
      noisy: [B,H,W,C] float32 at the resolution of one of the stages: images in
        [-1, 1], or normalised latents, plus noise.
      sigma: [B] std of the noise.
      condition: label, low-resolution image and its noise level.

    Returns:
      [B,H,W,C] float32.
    """
    denoise = self._trained.experiment.bind(self.params)
    return denoise(noisy, sigma, condition)

  def sample(
    self,
    count: int = 16,
    *,
    seed: int = 0,
    label: int | None = None,
    first_index: int = 0,
    stages: Sequence[Stage] | None = None,
    batch_size: int | None = None,
  ) -> Samples:
    """Generates images; image i is a function of (seed, first_index + i).

    Args:
      count: how many.
      seed: of all images, 0 to 2^32 - 1.
      label: class of all images; None for all classes in turn.
      first_index: of the first image.
      stages: other stages of sampling than the config's.
      batch_size: images at a time; the config's sampling.batch_size by default.

    Returns:
      Images [count,R,R,C] uint8, with `.stages` and `.labels`.

    Raises:
      ValueError: a number out of its range, or `label` is no class.
    """
    count = rules.argument("count", count, rules.integer(1))
    last = rules.integer(0, rules.MOST - count)
    first_index = rules.argument("first_index", first_index, last)
    chosen = self.stages if stages is None else tuple(stages)
    indices = np.arange(first_index, first_index + count)
    return self._generate(chosen, indices, seed, label, batch_size=batch_size)

  def upscale(
    self, images: np.ndarray, *, seed: int = 0, label: int | None = None
  ) -> Samples:
    """Runs the later stages on low-resolution images.

    Args:
      images: [N,r,r,C] uint8 at the resolution of a stage but the last.
      seed: of all images, 0 to 2^32 - 1.
      label: class of all images; None for no class.

    Returns:
      Images [N,R,R,C] uint8, with `.stages`.

    Raises:
      ValueError: images of another size or type.
    """
    codec = self._trained.experiment.codec
    sides = [codec.factor * stage.resolution for stage in self.stages]
    images = np.asarray(images)
    fits = images.ndim == 4 and images.shape[1] == images.shape[2]
    fits = fits and images.shape[1] in sides[:-1] and len(images) > 0
    if images.dtype != np.uint8 or not fits:
      raise ValueError(
        f"images are {images.dtype} {images.shape}: expected uint8 [N,r,r,C] "
        f"with r one of {sides[:-1]}"
      )
    if images.shape[-1] != codec.channels:
      raise ValueError(
        f"images have {images.shape[-1]} channels, the model {codec.channels}"
      )
    later = self.stages[sides.index(images.shape[1]) + 1 :]
    label = NO_LABEL if label is None else label
    return self._generate(
      later, np.arange(len(images)), seed, label, low_res=codec.encode(images)
    )

  def export(self, folder: str | AnyPath) -> None:
    """Writes a model folder that `load` reads without Orbax or TFDS.

    Args:
      folder: gets model.safetensors, config.json and README.md, a model card.
    """
    path = files.expanded(folder)
    files.make_folder(path)
    with locks.locked(path, "export"):
      model_folder.write(self._trained, path)

  def export_edm(self, file: str | AnyPath) -> None:
    """Writes the EMA weights as EDM's published networks name them.

    Args:
      file: gets them, as safetensors. `model.init_from` reads it.

    Raises:
      ValueError: EDM has no such network: one of latents, or a cascade, whose
        network also sees the image of the stage before.
    """
    model_folder.write_edm(self._trained, files.expanded(file))

  def benchmark(self, *others: "Model") -> Speeds:
    """Times sampling by this model and others in turn, as `benchmark` does.

    `config.benchmark` has the images at a time and the timed runs.

    Args:
      *others: such as the baseline.

    Returns:
      Images/s, NFE, FLOPs, memory and more of each; print it for a table.
    """
    models = (self, *others)
    return speeds.compare([(m._trained, m.stages) for m in models])

  def tune(self) -> "Tuned":
    """Searches a better schedule, as `--mode=tune` does by `config.tune`.

    Returns:
      Its fields, for `load`, and the whole search; print it for a table.

    Raises:
      ValueError: there are no images to compare with.
    """
    from lowdiff_jax.experiment import tuning  # Imports TFDS.

    return tuning.tune(self._trained)

  def _generate(
    self,
    stages: Sequence[Stage],
    indices: np.ndarray,
    seed: int,
    label: int | None,
    *,
    low_res: Array | None = None,
    batch_size: int | None = None,
  ) -> Samples:
    seed = rules.argument("seed", seed, rules.seed)
    classes = self.spec.num_classes
    if label is not None and label not in range(NO_LABEL, classes):
      raise ValueError(
        f"label={label}: the model has {classes} classes, counted from 0"
      )
    generator = self._trained.experiment.generator
    program = generator.program(stages)
    if batch_size is None:
      batch_size = self.config.sampling.batch_size
    wanted = rules.argument("batch_size", batch_size, rules.batch_size)
    if label is None:
      label = NO_LABEL
    elif label == NO_LABEL:
      # No class for any image, rather than all in turn.
      unlabelled = self.spec._replace(num_classes=0)
      generator = dataclasses.replace(generator, spec=unlabelled)
    request = Request(
      indices, self._trained.batch_size(wanted, len(indices)), seed, label
    )
    with memory.or_lower(self.config, *memory.of_sampling(self.config)):
      made = generator.generate(program, self.params, request, low_res=low_res)
      return Samples.of(concatenate(made))
