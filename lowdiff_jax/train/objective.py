"""The training objective: from a batch of a source to the loss."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lowdiff_jax.data.augment import augment
from lowdiff_jax.diffusion import loss
from lowdiff_jax.models.unified import UnifiedDenoiser, bind
from lowdiff_jax.types import Array, Batch, Metrics


class Objective(NamedTuple):
  """What is minimised, and what is watched.

  Attributes:
    denoiser: the network.
    normalise: `Batch.image` -> the denoiser's images; see `types.Codec`.
    stages: how each resolution is trained.
    label_dropout: probability of training without the label.
    augment: probability of each geometric distortion; see `data.augment`.
  """

  denoiser: UnifiedDenoiser
  normalise: Callable[[Any], Any]
  stages: Sequence[loss.StageLoss]
  label_dropout: float = 0.0
  augment: float = 0.0

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

    An image's masks of dropout depend on the key and on its position in the
    batch alone: neither on the examples beside it nor on the device.
    """
    dropout_key, *_ = jax.random.split(key, 3)
    denoise = bind(self.denoiser, params, dropout_key)
    return loss.cascade_loss(denoise, examples, stages=self.stages)

  def validation_loss(self, params: Any, batch: Batch) -> Metrics:
    """The loss at fixed noise levels; see `loss.validation_loss`."""
    return loss.validation_loss(
      bind(self.denoiser, params),
      jax.random.key(0),
      self.normalise(batch.image),
      jnp.asarray(batch.label),
      stages=self.stages,
    )
