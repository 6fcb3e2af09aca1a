"""Every config page builds, and a wrong field is named."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lowdiff_jax.data.latents.reader import LatentInfo
from lowdiff_jax.diffusion import noise
from lowdiff_jax.experiment import build_experiment, open_data, trained
from lowdiff_jax.experiment.check import check
from lowdiff_jax.types import Condition, ImageSpec, UserError
from tests import gaussian, tiny
from tests.command_line import REPOSITORY

PAGES = sorted(path.stem for path in (REPOSITORY / "configs").glob("*.py"))


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(
  "arguments", ["", "baseline", "smoke", "baseline,smoke"]
)
def test_page_builds(name, arguments):
  config = tiny.config(arguments, name)
  spec = ImageSpec(config.stages.resolutions[-1], 1, 10)
  latents = None
  if config.data.space == "latents":
    latents = LatentInfo(np.zeros(1), np.ones(1), (1,), {}, "")
  experiment = build_experiment(config, spec, latents)
  stages = 1 if "baseline" in arguments else len(config.stages.resolutions)
  assert len(experiment.stages) == stages
  assert (
    sum(x.size for x in jax.tree.leaves(experiment.state_shapes.params)) > 0
  )


@pytest.mark.parametrize("name", PAGES)
def test_page_begins_with_its_command(name):
  text = (REPOSITORY / "configs" / f"{name}.py").read_text()
  command = f"python -m lowdiff_jax.main --config=configs/{name}.py"
  assert command in text.split('"""')[1]


def test_unknown_argument():
  with pytest.raises(ValueError, match="unknown argument 'smok'"):
    tiny.config("smok")


@pytest.mark.parametrize(
  ("field", "value", "said"),
  [
    ("data.hold_out", 0.6, "a number of at least 0 and at most 0.5"),
    ("data.crop", "middle", "expected one of none, center"),
    ("sampling.sampler", ("heun", "ddim"), "each value one of euler, heun"),
    ("sampling.steps", (3,), "expected 2 values, one for each of"),
    ("sampling.steps", (3, 0), "each value an integer of at least 1"),
    ("sampling.sigma_min", (50.0, 0.01), "must be below sigma_max"),
    ("stages.resolutions", (4, 12), "each to be twice the one before"),
    ("stages.resolutions", (6, 12), ""),
    ("sampling.churn", (0.0, 10.0), "dpmpp_2m cannot churn"),
    ("sampling.start", ("handoff", "noise"), "nothing to start"),
    ("model.channel_mult", (1, 2, 2, 2, 2), "5 levels do not fit"),
    ("model.channels", 100, "do not divide into groups"),
    ("optimizer.learning_rate", -1.0, "expected a number above 0"),
    ("optimizer.betas", (0.9, 1.5), "at least 0 and at most 1"),
    ("cascade", 1, "expected True or False"),
    ("stages.consistency", (0.0, 1.0), "at least 0 and below 1"),
  ],
)
def test_wrong_values_are_named(field, value, said):
  config = tiny.config()
  with config.ignore_type():
    config.update_from_flattened_dict({field: value})
  if not said:
    check(config)
    return
  with pytest.raises(UserError, match=rf"config\.{field}.*{said}"):
    check(config)


def test_churn_reaches_the_sampler_and_the_protocol():
  config = tiny.config(
    **{"sampling.sampler": ("heun", "heun"), "sampling.churn": (0.0, 40.0)}
  )
  still, churning = build_experiment(config, tiny.SPEC).stages
  x = gaussian.noisy(40.0, (2, 8, 8, 1))
  args = (gaussian.denoise, noise.image_keys(0, [0, 1]), x, still.sigmas)
  results = [s.sampler(*args, Condition())[0] for s in (still, churning)]
  assert jnp.abs(results[0] - results[1]).max() > 0.1
  protocol = trained.describe(config, (still, churning))
  assert "churn" not in protocol[0]
  assert protocol[1]["sampler"] == "heun" and protocol[1]["churn"] == 40.0


@pytest.mark.parametrize(
  ("page", "field", "said"),
  [
    ("digits", "model.hidden_size", "but with model.backbone = 'dit'"),
    ("digits", "baseline.shift", "but with model.precondition = 'flow'"),
    ("imagenet256", "model.channels", "but with model.backbone = 'unet'"),
    ("digits", "stages.direction", "but with model.precondition = 'flow'"),
  ],
)
def test_a_field_of_another_choice_is_named(page, field, said):
  config = tiny.config("smoke", page)
  with config.unlocked():
    config.update_from_flattened_dict({field: 8})
  with pytest.raises(UserError, match=f"{field}: no such field {said}"):
    check(config)


def test_latents_are_not_distorted():
  with pytest.raises(UserError, match=r"data.augment = 0.1: only pictures"):
    tiny.config("smoke", "imagenet256", **{"data.augment": 0.1})


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
  guided = tiny.config(**{"sampling.guidance_scale": (1.0, 2.0)})
  with pytest.raises(UserError, match="guidance needs labels"):
    build_experiment(guided, unlabelled)
  undropped = tiny.config(
    **{"sampling.guidance_scale": (1.0, 2.0), "model.label_dropout": 0.0}
  )
  with pytest.raises(UserError, match="label_dropout above 0"):
    build_experiment(undropped, tiny.SPEC)
  eleven = tiny.config(**{"sampling.label": 11})
  with pytest.raises(UserError, match="has 10 classes, counted from 0"):
    build_experiment(eleven, tiny.SPEC)
  odd = tiny.config(**{"stages.images": (3, 3)})
  with pytest.raises(UserError, match="does not divide over 8 devices"):
    build_experiment(odd, tiny.SPEC)
