"""Every config page builds, and a wrong field is named."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lowdiff_jax.cli.config import table
from lowdiff_jax.data.latents.info import LatentInfo
from lowdiff_jax.diffusion import noise
from lowdiff_jax.experiment import identity
from lowdiff_jax.experiment.defaults import of_same_kind
from lowdiff_jax.experiment.fields import SCHEMA
from lowdiff_jax.experiment.overrides import override, parse_flags
from lowdiff_jax.experiment.parts import build_experiment
from lowdiff_jax.experiment.schema import PerStage, leaves, resolutions
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
