"""Every config page builds, and a wrong field is named."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lowdiff_jax import distributed
from lowdiff_jax.cli.config import table
from lowdiff_jax.data.latents.info import LatentInfo
from lowdiff_jax.diffusion import noise
from lowdiff_jax.experiment import identity
from lowdiff_jax.experiment.check import check
from lowdiff_jax.experiment.defaults import of_same_kind
from lowdiff_jax.experiment.fields import SCHEMA
from lowdiff_jax.experiment.overrides import override, parse_flags
from lowdiff_jax.experiment.parts import build_experiment
from lowdiff_jax.experiment.schema import PerStage, leaves, resolutions
from lowdiff_jax.experiment.sources import open_data
from lowdiff_jax.experiment.training import check_batches
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
  spec = ImageSpec(resolutions(config)[-1], 1, 10)
  latents = None
  if config.data.space == "latents":
    latents = LatentInfo(np.zeros(1), np.ones(1), (1,), {}, "")
  experiment = build_experiment(config, spec, latents)
  stages = 1 if "baseline" in arguments else len(config.stages)
  assert len(experiment.stages) == stages
  assert (
    sum(x.size for x in jax.tree.leaves(experiment.state_shapes.params)) > 0
  )


@pytest.mark.parametrize("name", PAGES)
def test_page_begins_with_its_command(name):
  text = (REPOSITORY / "configs" / f"{name}.py").read_text()
  command = f"python -m lowdiff_jax.main --config=configs/{name}.py"
  assert command in text.split('"""')[1]


def body(name):
  """The lines of a page without its docstring."""
  text = (REPOSITORY / "configs" / f"{name}.py").read_text()
  return text.split('"""', 2)[2].strip().splitlines()


def test_pages_are_short():
  assert max(len(body(name)) for name in PAGES) < 100


@pytest.mark.parametrize("pair", itertools.combinations(PAGES, 2), ids=str)
def test_no_two_pages_share_a_run_of_six_lines(pair):
  runs = [
    {tuple(lines[i : i + 6]) for i in range(len(lines) - 5)}
    for lines in map(body, pair)
  ]
  assert not runs[0] & runs[1]


@pytest.mark.parametrize("name", PAGES)
def test_every_field_is_printed_with_its_value(name):
  config = tiny.config("", name)
  lines = table(config).splitlines()
  values, defaults = leaves(config), leaves(of_same_kind(config))
  assert len(lines) == len(values)
  for line in lines:
    mark, field, rest = line[:2], *line[2:].split(" = ", 1)
    assert rest.startswith(repr(values[field])) and "  # " in rest
    assert (mark == "* ") == (values[field] != defaults[field])


def test_every_field_has_one_place_and_a_line_of_documentation():
  seen = set()
  for group, field, staged in SCHEMA.everything():
    key = (staged, group.chooser, group.value, field.name)
    assert key not in seen and field.doc and "\n" not in field.doc
    seen.add(key)
    assert len(field.doc) < 80, field.name
    default = field.default
    if isinstance(default, PerStage):
      default = default.value(0, 2)
    assert field.rule.fits(default), field.name


def test_a_config_survives_json():
  for name in PAGES:
    config = tiny.config("", name)
    record = json.loads(json.dumps(identity.to_json(config)))
    assert leaves(identity.from_json(record)) == leaves(config)


@pytest.mark.parametrize(
  ("name", "text", "value"),
  [
    ("train.images", "100", 100),
    ("train.images", "1e5", 1e5),
    ("optimizer.clip_norm", "inf", float("inf")),
    ("optimizer.learning_rate", "1", 1.0),
    ("sampling.gif", "true", True),
    ("data.source", "folder:1", "folder:1"),
    ("stages.s8.steps", "7", 7),
    ("stages.s8.sampler", "heun", "heun"),
    ("sweep.steps", "((3, 2), (2, 1))", ((3, 2), (2, 1))),
    ("optimizer.betas", "(0, 0.5)", (0.0, 0.5)),
  ],
)
def test_flags_are_parsed_by_the_field(name, text, value):
  config = tiny.config()
  changed = override(config, parse_flags([(name, text)], config))
  found = leaves(changed)[name]
  assert found == value and type(found) is type(value)
  assert leaves(config) != leaves(changed) or leaves(config)[name] == value


def test_unknown_argument():
  with pytest.raises(ValueError, match="unknown argument 'smok'"):
    tiny.config("smok")


@pytest.mark.parametrize(
  ("field", "value", "said"),
  [
    ("data.hold_out", 0.6, "a number of at least 0 and at most 0.5"),
    ("data.crop", "middle", "expected one of none, center"),
    ("stages.s8.sampler", "ddim", "expected one of euler, heun"),
    ("stages.s8.steps", 0, "expected an integer of at least 1"),
    ("stages.s4.sigma_min", 50.0, "must be below sigma_max"),
    ("stages.s8.churn", 10.0, "dpmpp_2m cannot churn"),
    ("stages.s4.start", "handoff", "nothing to start"),
    ("stages.s4.target", "residual", "the first stage has no condition"),
    ("stages.s8.min_low_res_sigma", 0.3, "not be above max_low_res_sigma"),
    ("sweep.steps", ((3,),), "are not the steps of 2 stages"),
    ("model.channel_mult", (1, 2, 2, 2, 2), "5 levels do not fit"),
    ("model.channels", 100, "do not divide into groups"),
    ("optimizer.learning_rate", -1.0, "expected a finite number above 0"),
    ("optimizer.betas", (0.9, 1.5), "at least 0 and below 1"),
    ("cascade", 1, "expected True or False"),
  ],
)
def test_wrong_values_are_named(field, value, said):
  with pytest.raises(UserError, match=rf"config\.{field}.*{said}"):
    tiny.config(**{field: value})


def test_each_resolution_is_twice_the_one_before():
  tiny.config(resolutions=(6, 12))
  with pytest.raises(UserError, match="each to be twice the one before"):
    tiny.config(resolutions=(4, 12))


def test_churn_reaches_the_sampler_and_the_protocol():
  config = tiny.config(
    **tiny.stages(sampler=("heun", "heun"), churn=(0.0, 40.0))
  )
  still, churning = build_experiment(config, tiny.SPEC).stages
  x = gaussian.noisy(40.0, (2, 8, 8, 1))
  args = (gaussian.denoise, noise.image_keys(0, [0, 1]), x, still.sigmas)
  results = [s.sampler(*args, Condition())[0] for s in (still, churning)]
  assert jnp.abs(results[0] - results[1]).max() > 0.1
  protocol = [stage.to_json() for stage in (still, churning)]
  assert "churn" not in protocol[0]
  assert protocol[1]["sampler"] == "heun" and protocol[1]["churn"] == 40.0


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
