"""The library: load a model, sample it, train one. docs/library.md shows how.

A mistake raises ValueError, in one line that says the way out.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from lowdiff_jax import files, locks
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.data.splits import Data
from lowdiff_jax.diffusion.cascade import Stage
from lowdiff_jax.experiment import identity, memory, model_folder, rules
from lowdiff_jax.experiment.named_models import find_trained
from lowdiff_jax.experiment.overrides import override, read_page
from lowdiff_jax.experiment.trained import Trained
from lowdiff_jax.generate.generator import Request, concatenate
from lowdiff_jax.generate.samples import Samples
from lowdiff_jax.types import NO_LABEL, Array, Condition, ImageSpec


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


def load(path: str | AnyPath, fields: Mapping[str, Any] | None = None) -> Model:
  """Loads a trained model.

  Args:
    path: a run's workdir; a folder that `Model.export` or --mode=export wrote;
      one of a hub, "hf://OWNER/NAME"; or a model of the package by its name.
    fields: of the config to change, by full name: {"stages.s8.steps": 3}. Only
      those that training did not fix.

  Returns:
    The model, with its EMA weights.

  Raises:
    ValueError: there is no model, or a field contradicts what was trained.
  """
  return Model(find_trained(path, fields or {}))


def config(
  page: str | AnyPath, fields: Mapping[str, Any] | None = None
) -> ConfigDict:
  """The config of a page.

  Args:
    page: a file, or a page of the package, "cifar10"; "cifar10:cond".
    fields: to change, by full name: {"train.images": 100_000}.

  Returns:
    The config, checked.

  Raises:
    ValueError: there is no such page or field, or a wrong value.
  """
  return override(read_page(str(page)), fields or {})


def fit(
  config: ConfigDict, workdir: str | AnyPath, data: Data | None = None
) -> Model:
  """Trains a cascade, or goes on with the run in the folder.

  Args:
    config: see `config`, or `defaults.pixels` for one without a page.
    workdir: of the run: checkpoints, metrics.jsonl, tensorboard.
    data: images to train on and to hold out (`from_arrays`); None for those
      that config.data names.

  Returns:
    The model, with the weights of the last checkpoint.

  Raises:
    ValueError: a mistake in the config or the data, another run in the folder,
      another process that trains there, a full disk, or a loss that is not
      finite.
  """
  from lowdiff_jax.experiment import run_folder, sources, training_run
  from lowdiff_jax.experiment.parts import build_experiment

  folder = files.absolute(files.expanded(workdir))
  files.make_folder(folder)
  with locks.owned(folder, "train"):
    own = run_folder.read_config(folder)
    config = identity.for_run(own, config, {}, str(workdir))
    data = sources.open_data(config) if data is None else data
    experiment = build_experiment(config, data.train.spec, data.latents)
    return Model(training_run.train(experiment, data, folder))
