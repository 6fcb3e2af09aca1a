"""Fields that do not go together, with each other or with the data."""

import jax
import pytest

from lowdiff_jax import distributed
from lowdiff_jax.experiment.check import check
from lowdiff_jax.experiment.parts import build_experiment
from lowdiff_jax.experiment.sources import open_data
from lowdiff_jax.experiment.training import check_batches
from lowdiff_jax.types import ImageSpec, UserError
from tests import tiny


@pytest.mark.parametrize(
  ("page", "field", "said"),
  [
    ("digits", "model.hidden_size", "but with model.backbone = 'dit'"),
    ("digits", "baseline.shift", "but with model.precondition = 'flow'"),
    ("imagenet256", "model.channels", "but with model.backbone = 'unet'"),
    ("digits", "stages.s8.shift", "but with model.precondition = 'flow'"),
  ],
)
def test_a_field_of_another_choice_is_named(page, field, said):
  with pytest.raises(UserError, match=f"{field}: no such field {said}"):
    tiny.config("smoke", page, **{field: 8})


def test_latents_are_not_distorted():
  with pytest.raises(UserError, match=r"data.augment = 0.1: only pixels"):
    tiny.config("smoke", "imagenet256", **{"data.augment": 0.1})


@pytest.mark.parametrize(
  ("channels", "mult", "num_blocks", "said"),
  [
    (5, (1, 2), 1, "half of them embed the noise level"),
    (7, (2, 2), 1, "half of them embed the noise level"),
    (44, (3, 3), 1, "132 channels do not divide into groups"),
    # Of features beside those of a skip: of another level, of the same one.
    (8, (64, 64), 1, "520 channels do not divide into groups"),
    (20, (5, 1), 2, "200 channels do not divide into groups"),
  ],
)
def test_widths_that_cannot_be_normalised(channels, mult, num_blocks, said):
  fields = {"channels": channels, "channel_mult": mult}
  fields["num_blocks"] = num_blocks
  with pytest.raises(UserError, match=f"model.channels = {channels}: .*{said}"):
    tiny.config(**{f"model.{name}": fields[name] for name in fields})


def test_widths_that_just_fit():
  fields = {"model.channels": 20, "model.channel_mult": (5, 1)}
  config = tiny.config(**fields)
  assert build_experiment(config, tiny.SPEC, devices=jax.devices()[:1])


def test_heads_must_divide_the_width():
  with pytest.raises(UserError, match="num_heads = 3: hidden_size = 16"):
    tiny.config("smoke", "imagenet256", **{"model.num_heads": 3})


def test_unknown_and_missing_fields_are_named():
  config = tiny.config()
  config.train.unlock()
  config.train.epochs = 3
  with pytest.raises(UserError, match=r"config\.train\.epochs: no such field"):
    check(config)
  del config.train["epochs"], config.train["images"]
  with pytest.raises(UserError, match=r"config\.train\.images is missing"):
    check(config)


def test_labels_can_be_left_out(data_dir):
  config = tiny.config(**{"data.labels": False, "data.dir": str(data_dir)})
  data = open_data(config)
  assert [split.spec.num_classes for split in data[:2]] == [0, 0]
  experiment = build_experiment(config, data[0].spec)
  mapping = experiment.state_shapes.params["backbone"]["mapping"]
  assert "map_label" not in mapping


def test_fields_that_do_not_go_with_the_data():
  unlabelled = ImageSpec(8, 1, 0)
  guided = tiny.config(**{"stages.s8.guidance_scale": 2.0})
  with pytest.raises(UserError, match="guidance needs labels"):
    build_experiment(guided, unlabelled)
  undropped = tiny.config(
    **{"stages.s8.guidance_scale": 2.0, "model.label_dropout": 0.0}
  )
  with pytest.raises(UserError, match="label_dropout above 0"):
    build_experiment(undropped, tiny.SPEC)
  eleven = tiny.config(**{"sampling.label": 11})
  with pytest.raises(UserError, match="has 10 classes, counted from 0"):
    build_experiment(eleven, tiny.SPEC)


@pytest.mark.parametrize(
  ("batch_size", "microbatches", "said"),
  [
    ((16, 12), 1, r"stages\.s8\.batch_size = 12 .* over 8 devices"),
    ((16, 32), 4, r"s4.batch_size = 16 .*train\.microbatches = 4 x 8 devices"),
  ],
)
def test_batches_that_do_not_divide(batch_size, microbatches, said):
  fields = tiny.stages(batch_size=batch_size)
  config = tiny.config(**fields, **{"train.microbatches": microbatches})
  mesh = distributed.make_mesh()
  with pytest.raises(UserError, match=said):
    check_batches(config, mesh)
  # The same model still samples.
  assert build_experiment(config, tiny.SPEC).mesh.size == 8
