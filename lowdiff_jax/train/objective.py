"""The training objective: from a batch of a source to the loss."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lowdiff_jax.data.augment import augment
from lowdiff_jax.diffusion import loss
from lowdiff_jax.models.unified import UnifiedDenoiser, bind
from lowdiff_jax.types import Array, Batch, Condition, Denoiser, Metrics


class Objective(NamedTuple):
  """What is minimised, and what is watched.

  Attributes:
    denoiser: the network.
    normalise: `Batch.image` -> the denoiser's images; see `types.Codec`.
    stages: how each resolution is trained.
    label_dropout: probability of training without the label.
    augment: probability of each geometric distortion; see `data.augment`.
    dropout: whether the network has dropout.
  """

  denoiser: UnifiedDenoiser
  normalise: Callable[[Any], Any]
  stages: Sequence[loss.StageLoss]
  label_dropout: float = 0.0
  augment: float = 0.0
  dropout: bool = False

  def draw(self, key: Array, batch: Batch) -> tuple[loss.Examples, ...]:
    """The examples of a batch; see `loss.draw_examples`."""
    _, key, augment_key = jax.random.split(key, 3)
    image, distortion = self.normalise(batch.image), None
    if self.augment > 0:
      image, distortion = augment(augment_key, image, self.augment)
    return loss.draw_examples(
      key,
      image,
      jnp.asarray(batch.label),
      stages=self.stages,
      label_dropout=self.label_dropout,
      augment=distortion,
    )

  def train_loss(
    self, params: Any, key: Array, examples: Sequence[loss.Examples]
  ) -> tuple[Array, Metrics]:
    """The loss of what `draw` made of the same key; see `loss.cascade_loss`.

    The masks of dropout depend on the key and on the image's `position` alone:
    neither on the examples beside it nor on the device.
    """
    dropout_key, *_ = jax.random.split(key, 3)
    denoise = bind(self.denoiser, params, dropout_key)
    if self.dropout:
      denoise = self._denoise_each(params, dropout_key, examples)
    return loss.cascade_loss(denoise, examples, stages=self.stages)

  def _denoise_each(
    self, params: Any, key: Array, examples: Sequence[loss.Examples]
  ) -> Denoiser:
    """The denoiser with a key of dropout for each image."""
    positions = {x.clean.shape[1]: x.position for x in examples}

    def denoise_one(position: Array, *image: Any) -> Array:
      denoise = bind(self.denoiser, params, jax.random.fold_in(key, position))
      return denoise(*jax.tree.map(lambda x: x[None], image))[0]

    def denoise(noisy: Array, sigma: Array, cond: Condition) -> Array:
      each = jax.vmap(denoise_one)
      return each(positions[noisy.shape[1]], noisy, sigma, cond)

    return denoise

  def validation_loss(self, params: Any, batch: Batch) -> Metrics:
    """The loss at fixed noise levels; see `loss.validation_loss`."""
    return loss.validation_loss(
      bind(self.denoiser, params),
      jax.random.key(0),
      self.normalise(batch.image),
      jnp.asarray(batch.label),
      stages=self.stages,
    )
