"""Numbers that a config must not hold: refused by the field's name."""

import math
import re

import numpy as np
import pytest
from ml_collections import ConfigDict

from lowdiff_jax.experiment.overrides import override, parse_flags
from lowdiff_jax.experiment.parts import check_guidance
from lowdiff_jax.experiment.sampling import sampling_stages
from lowdiff_jax.experiment.schema import leaves
from lowdiff_jax.experiment.training import make_optimizer
from lowdiff_jax.types import ImageSpec, UserError
from tests import tiny


@pytest.mark.parametrize(
  ("field", "text", "said"),
  [
    ("sampling.guidance_interval", "(5.0, 1.0)", "low below high"),
    ("sampling.guidance_interval", "(1.0, 1.0)", "low below high"),
    ("sampling.churn_interval", "(5.0, 1.0)", "low below high"),
    ("sampling.churn_interval", "(1e400, 1e401)", "low below high"),
    ("stages.s8.steps", "10001", "an integer of at least 1 and at most 10,000"),
    ("baseline.steps", "1000000000", "at most 10,000"),
    ("sweep.steps", "((3, 20000),)", "at most 10,000"),
    ("sweep.baseline_steps", "(20000,)", "at most 10,000"),
    ("sweep.steps", "()", "a tuple of at least 1 values"),
    ("model.channel_mult", "()", "a tuple of at least 1 values"),
    ("model.attn_resolutions", "(" + "4," * 2000 + ")", "a tuple of values"),
    ("optimizer.learning_rate", "inf", "a finite number above 0"),
    ("optimizer.learning_rate", "1e-50", "a finite number above 0"),
    ("optimizer.learning_rate", "1e300", "a finite number above 0"),
    ("optimizer.learning_rate", "1" + "0" * 400, "a finite number above 0"),
    ("optimizer.betas", "(0.9, 1.0)", "of at least 0 and below 1"),
    ("optimizer.betas", "(0.9, nan)", "of at least 0 and below 1"),
    ("optimizer.eps", "nan", "a finite number above 0"),
    ("optimizer.warmup_images", "3e38", "at least 0 and at most 2e+09"),
    ("train.images", "inf", "at least 1 and at most 4e+09"),
    ("train.images", "5e9", "at least 1 and at most 4e+09"),
    ("train.log_images", "inf", "a finite number above 0"),
    ("stages.s8.sigma_max", "inf", "a number from 1e-6 to 1e6"),
    ("stages.s8.sigma_min", "1e-300", "a number from 1e-6 to 1e6"),
    ("stages.s8.sigma_data", "nan", "a number from 1e-6 to 1e6"),
    ("stages.s8.p_mean", "500", "of at least -20 and at most 20"),
    ("stages.s8.rho", "1e-30", "of at least 0.1 and at most 1000"),
    ("stages.s8.guidance_scale", "inf", "a finite number of at least 0"),
    ("stages.s8.batch_size", "2000000000", "at least 1 and at most 1,048,576"),
    ("sampling.batch_size", "1048577", "at most 1,048,576"),
    ("evaluation.batch_size", "1048577", "at most 1,048,576"),
    ("benchmark.batch_size", "1048577", "at most 1,048,576"),
    ("model.num_blocks", "2147483647", "at least 1 and at most 64"),
    ("model.channels", "2147483616", "at least 4 and at most 16,384"),
    (
      "model.channel_mult",
      "(1, 65)",
      "each an integer of at least 1 and at mo",
    ),
    ("data.max_pixels", "1", "at least 4,096, below 2^31"),
    ("evaluation.references", "1", "at least 2, or 0 for all"),
    ("evaluation.images", "1", "at least 2, or 0 for none"),
    ("evaluation.side", "1000000", "at least 75 and at most 2,048"),
    ("tune.candidates", "1000000000", "at most 10,000"),
    ("tune.rounds", "1000000000", "at most 30"),
    ("sampling.images", "3000000000", "at least 1, below 2^31"),
    ("evaluation.images", "3000000000", "at least 2, or 0"),
    ("seed", "4294967296", "at most 4,294,967,295"),
    ("seed", "1.0", "an integer"),
    ("seed", "(" * 5000, "an integer"),
    ("seed", "-" * 5000 + "1", "an integer"),
    ("seed", "{1: 2}", "an integer"),
    ("seed", "{[]: 2}", "an integer"),
    ("seed", "9" * 5000, "an integer"),
    ("cascade", "b'a'", "True or False"),
    ("data.hold_out", "nan", "at least 0 and at most 0.5"),
  ],
)
def test_refused_by_name(field, text, said):
  config = tiny.config()
  with pytest.raises(UserError, match=re.escape(said)) as caught:
    override(config, parse_flags([(field, text)], config))
  assert str(caught.value).startswith(f"config.{field} = ")


@pytest.mark.parametrize(
  ("field", "text"),
  [
    ("train.images", "1e6"),
    ("train.images", "2_000"),
    ("train.evaluate_images", "1e18"),
    ("optimizer.clip_norm", "inf"),
    ("ema.ramp", "inf"),
    ("sampling.guidance_interval", "(0.3, 1e400)"),
    ("stages.s8.steps", "10000"),
    ("stages.s8.loss_scale", "0"),
    ("seed", "4294967295"),
    ("sampling.seed", "4294967295"),
    ("stages.s8.batch_size", "1048576"),
    ("optimizer.warmup_images", "2e9"),
    ("model.num_blocks", "64"),
    ("data.max_pixels", "4096"),
    ("evaluation.references", "2"),
    ("sweep.baseline_steps", "()"),
  ],
)
def test_what_stays_allowed(field, text):
  config = tiny.config()
  changed = override(config, parse_flags([(field, text)], config))
  assert math.isfinite(sampling_stages(changed)[1].sigmas[0])
  assert leaves(changed)[field] != leaves(config)[field]


@pytest.mark.parametrize(
  ("field", "value", "said"),
  [
    ("model.hidden_size", 2**30, "at least 4 and at most 16,384"),
    ("model.depth", 2**30, "at most 256"),
    ("model.num_heads", 2**30, "at most 16,384"),
    ("autoencoder.batch_size", 2**30, "at most 1,048,576"),
    ("autoencoder.channels", 2**30, "a multiple of 32 and at most 16,384"),
    ("autoencoder.channels", 33, "a multiple of 32"),
    ("autoencoder.channel_mult", (1,) * 9, "1 to 8 values"),
    ("autoencoder.num_blocks", 2**30, "at most 64"),
    ("autoencoder.channel_mult", (1, 2**30), "at most 64"),
    ("autoencoder.latent_channels", 2**30, "at most 16,384"),
  ],
)
def test_networks_have_limits(field, value, said):
  with pytest.raises(UserError, match=rf"config\.{field} = .*{said}"):
    tiny.config(name="imagenet256", **{field: value})


def test_the_longest_warm_up_is_counted_in_32_bits():
  config = tiny.config(**{"optimizer.warmup_images": 2e9})
  rate = make_optimizer(config, batch_size=1)
  params = {"a": np.zeros(2, np.float32)}
  updates, _ = rate.update(params, rate.init(params), params)
  assert np.isfinite(updates["a"]).all()


def test_images_are_counted_in_32_bits():
  with pytest.raises(UserError, match=r"sampling\.first_index = 2147483640"):
    tiny.config(**{"sampling.first_index": 2**31 - 8})
  with pytest.raises(UserError, match=r"evaluation\.seed_ranges = 100000"):
    tiny.config(
      **{"evaluation.images": 50_000, "evaluation.seed_ranges": 100_000}
    )


def test_noise_levels_must_fall():
  near = {"sigma_min": (0.4999999, 0.01), "sigma_max": (0.5, 40.0)}
  fields = tiny.stages(**near, steps=(10, 5))
  with pytest.raises(UserError, match=r"stages\.s4\.rho = 7.0: the 10 noise"):
    tiny.config(**fields)


@pytest.mark.parametrize("stage", ["s²", "s0", "s08", "s16", "s99999", "s8 "])
def test_names_of_stages(stage):
  config, name = tiny.config(), f"stages.{stage}.steps"
  said = f"config.{name}: no such field; the stages are s4, s8"
  with pytest.raises(UserError, match=f"^{said}$"):
    parse_flags([(name, "3")], config)
  with pytest.raises(UserError, match=f"^{said}$"):
    override(config, {name: 3})


def test_the_nearest_field_is_of_a_stage_that_there_is():
  said = r"s8\.stepz: no such field; did you mean stages\.s8\.steps"
  with pytest.raises(UserError, match=said):
    tiny.config(**{"stages.s8.stepz": 3})


@pytest.mark.parametrize(
  ("stages", "said"),
  [
    (ConfigDict({"top": {"steps": 3}}), r"config\.stages\.top: expected sec"),
    (ConfigDict(), "config.stages: expected a section for each resolution"),
    (3, "config.stages: expected a section for each resolution"),
  ],
)
def test_a_page_without_stages(stages, said):
  page = tiny.config()
  with page.unlocked(), page.ignore_type():
    page.stages = stages
  with pytest.raises(UserError, match=said):
    parse_flags([], page)
  with pytest.raises(UserError, match=said):
    override(page, {})


def test_guidance_that_a_model_cannot_follow():
  config = tiny.config()
  check_guidance(config, tiny.SPEC, "sweep.guidance_scale", 2.0)
  check_guidance(config, ImageSpec(8, 1, 0), "sweep.guidance_scale", 1.0)
  with pytest.raises(UserError, match=r"sweep.guidance_scale = 2.0: .*labels"):
    check_guidance(config, ImageSpec(8, 1, 0), "sweep.guidance_scale", 2.0)
  undropped = tiny.config(**{"model.label_dropout": 0.0})
  with pytest.raises(UserError, match="label_dropout above 0"):
    check_guidance(undropped, tiny.SPEC, "sweep.guidance_scale", 2.0)
