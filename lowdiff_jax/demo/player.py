"""What the demo page computes: cascades stage by stage, timed."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from lowdiff_jax.data import images
from lowdiff_jax.data.decode import DecodeError, Decoder, pixels
from lowdiff_jax.diffusion.cascade import Stage
from lowdiff_jax.experiment import rules
from lowdiff_jax.experiment.overrides import override
from lowdiff_jax.experiment.sampling import sampling_stages
from lowdiff_jax.experiment.schema import stage_names
from lowdiff_jax.experiment.trained import Trained
from lowdiff_jax.generate.stages import StagePrograms
from lowdiff_jax.types import NO_LABEL, UserError

# Images at a time, steps of a stage, and pictures and pixels of an upload.
MOST_IMAGES, MOST_STEPS = 36, 100
MOST_PICTURES, MOST_PIXELS = 16, 2**24


class Subject(NamedTuple):
  """Which images: seed, class (`NO_LABEL` for all in turn), how many."""

  seed: int
  label: int
  images: int


class Done(NamedTuple):
  """A stage that has run.

  Attributes:
    stage: the stage.
    images: after it, [N,R,R,C] uint8.
    seconds: it took, without decoding and compiling.
  """

  stage: Stage
  images: np.ndarray
  seconds: float


class Player:
  """Samples one model; several threads may use it.

  Attributes:
    model: the model.
    stages: its own, by their sections in the config: {"s8": ...}; the baseline
      has one, "baseline".
  """

  def __init__(self, model: Trained):
    self.model = model
    experiment = model.experiment
    names = ["baseline"]
    if experiment.config.cascade:
      names = stage_names(experiment.config)
    self.stages = dict(zip(names, experiment.stages, strict=True))
    self._programs = StagePrograms(experiment.generator, model.params)
    self._warm: set[Any] = set()

  @property
  def sides(self) -> list[int]:
    """Of the images after each stage, in pixels."""
    factor = self.model.experiment.codec.factor
    return [factor * stage.resolution for stage in self.stages.values()]

  def with_fields(self, fields: Mapping[str, Any]) -> list[Stage]:
    """The stages, with other values of fields of the config.

    Raises:
      UserError: a value that its field may not hold, or too many steps.
    """
    for name, value in fields.items():
      if name.endswith(".steps"):
        rules.integer(1, MOST_STEPS).check(f"config.{name}", value)
    config = override(self.model.experiment.config, fields)
    return list(sampling_stages(config))

  def play(
    self,
    stages: Sequence[Stage],
    subject: Subject,
    low_res: np.ndarray | None = None,
  ) -> Iterator[Done]:
    """Runs one stage after another.

    Args:
      stages: to run.
      subject: which images.
      low_res: as many, [N,r,r,C] uint8, to begin with: of a stage before.

    Yields:
      Each stage once it has run.

    Raises:
      UserError: a number that is not allowed.
    """
    codec = self.model.experiment.codec
    classes = self.model.experiment.spec.num_classes
    seed, label, count = subject
    rules.seed.check("seed", seed)
    rules.integer(NO_LABEL, classes - 1).check("class", label)
    rules.integer(1, MOST_IMAGES).check("images", count)
    indices = np.arange(self.model.batch_size(count, count))
    labels = self.model.experiment.generator.labels(indices, label)
    image = None
    if low_res is not None:
      extra = len(indices) - count
      padded = np.pad(low_res, ((0, extra), *[(0, 0)] * 3), mode="edge")
      image = codec.encode(padded)
    for stage in stages:
      key = (stage.program(), image is not None, len(indices))
      inputs = (stage, seed, indices, labels, image)
      if key not in self._warm:  # It compiles.
        jax.block_until_ready(self._programs.run(*inputs))
        self._warm.add(key)
      since = time.perf_counter()
      image = jax.block_until_ready(self._programs.run(*inputs))
      seconds = time.perf_counter() - since
      shown = np.asarray(codec.decode(image))[:count]
      yield Done(stage, shown, seconds)

  def read(self, paths: Sequence[str], side: int) -> np.ndarray:
    """Uploaded pictures as small images.

    Args:
      paths: of the files.
      side: of the images: their middle squares are shrunk to it.

    Returns:
      [N,side,side,C] uint8.

    Raises:
      UserError: too many, or one that is no picture, too large or too small.
    """
    if not 0 < len(paths) <= MOST_PICTURES:
      raise UserError(f"expected 1 to {MOST_PICTURES} pictures")
    if side not in self.sides[:-1]:
      raise UserError(f"{side}x{side} is no stage that another one follows")
    return np.stack([self._read(Path(path), side) for path in paths])

  def _read(self, path: Path, side: int) -> np.ndarray:
    try:
      picture = Decoder(max_pixels=MOST_PIXELS).decode(path)
    except DecodeError as error:
      raise UserError(f"{path.name} cannot be read: {error}") from error
    if min(picture.size) < side:
      width, height = picture.size
      raise UserError(
        f"{path.name} is {width}x{height}: expected at least {side}x{side}"
      )
    small = images.fit(picture, side, "center", path.name)
    return pixels(small, self.model.experiment.codec.channels)
