"""The training objective passes on all that a batch and a config say."""

import jax
import jax.numpy as jnp
import numpy as np

from lowdiff_jax.diffusion import loss
from lowdiff_jax.train import objective as objectives
from lowdiff_jax.train.objective import Objective
from lowdiff_jax.types import NO_LABEL, Batch


class Spy:
  """Takes the place of a Flax module, and keeps what it is called with."""

  def __init__(self):
    self.calls = []

  def apply(self, variables, noisy, sigma, cond, **kwargs):
    self.calls.append((variables["params"], noisy, sigma, cond, kwargs))
    return variables["params"] * noisy


def run(count=64, **fields):
  spy = Spy()
  stage = loss.StageLoss(4, count, -1.2, 1.2, lambda s: 1 / s**2)
  objective = Objective(spy, lambda x: x / 127.5 - 1, [stage], **fields)
  image = np.random.default_rng(0).integers(0, 256, (count, 4, 4, 1))
  batch = Batch(image.astype(np.float32), jnp.zeros(count, jnp.int32))
  return spy, objective, batch


def train_loss(objective, params, key, batch):
  draw_key, dropout_key = jax.random.split(key)
  examples = objective.draw(draw_key, batch)
  return objective.train_loss(params, dropout_key, examples)


def test_images_are_normalised_and_labels_dropped():
  spy, objective, batch = run(4000, label_dropout=0.25)
  train_loss(objective, 1.0, jax.random.key(0), batch)
  ((params, noisy, sigma, cond, kwargs),) = spy.calls
  assert params == 1.0 and kwargs["rngs"]
  assert abs((cond.label == NO_LABEL).mean() - 0.25) < 0.03
  assert cond.augment is None
  eps = noisy - (batch.image / 127.5 - 1)
  eps = eps / sigma[:, None, None, None]
  assert abs(eps.std() - 1) < 0.02


def test_augmentation_has_its_probability():
  spy, objective, batch = run(2000, augment=0.3)
  train_loss(objective, 1.0, jax.random.key(0), batch)
  ((*_, cond, _),) = spy.calls
  changed = np.asarray(cond.augment) != 0
  # Images are always mirrored by half, and turned upside down by half of 0.3.
  assert abs(changed[:, 0].mean() - 0.5) < 0.04
  assert abs(changed[:, 1].mean() - 0.15) < 0.03


def test_keys_decide_and_dropout_has_its_own():
  spy, objective, batch = run()
  first, _ = train_loss(objective, 1.0, jax.random.key(0), batch)
  again, _ = train_loss(objective, 1.0, jax.random.key(0), batch)
  other, _ = train_loss(objective, 1.0, jax.random.key(1), batch)
  assert first == again != other
  keys = [call[-1]["rngs"]["dropout"] for call in spy.calls]
  data = [jax.random.key_data(key).tolist() for key in keys]
  assert data[0] == data[1] != data[2]


def test_validation_is_without_dropout_and_repeats_itself():
  spy, objective, batch = run(label_dropout=0.5, augment=0.5)
  first = objective.validation_loss(0.5, batch)
  assert objective.validation_loss(0.5, batch) == first
  for params, *_, cond, kwargs in spy.calls:
    assert params == 0.5 and "rngs" not in kwargs
    assert (cond.label != NO_LABEL).all() and cond.augment is None


def test_augmentation_and_noise_have_keys_of_their_own(monkeypatch):
  keys = []

  def augment(key, image, probability):
    keys.append(key)
    return image, None

  def draw_examples(key, image, label, **kwargs):
    keys.append(key)

  monkeypatch.setattr(objectives, "augment", augment)
  monkeypatch.setattr(loss, "draw_examples", draw_examples)
  _, objective, batch = run(augment=0.5)
  objective.draw(jax.random.key(0), batch)
  assert len({tuple(jax.random.key_data(key).tolist()) for key in keys}) == 2


def test_validation_is_of_normalised_images():
  _, objective, batch = run()
  metrics = objective.validation_loss(0.0, batch)
  image = batch.image / 127.5 - 1
  for name, value in metrics.items():
    sigma = float(name.split("_")[-1])
    expected = np.square(image).mean() / sigma**2
    np.testing.assert_allclose(value, expected, rtol=0.02)
