"""The baseline at other resolutions than its own, from a config to images."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lowdiff_jax.experiment import trained
from lowdiff_jax.experiment.check import check
from lowdiff_jax.types import Condition, UserError
from tests import command_line, tiny

ORDER = {
  "baseline.order": (8, 4, 8),
  "baseline.order_steps": (2, 3, 2),
  "baseline.order_sigma_min": (10.0, 0.3, 0.002),
  "baseline.order_sigma_max": (80.0, 5.0, 1.0),
}


@functools.cache
def experiment(**fields):
  return tiny.experiment("smoke,baseline", jax.devices()[:1], **fields)


def generate(parts):
  args = (parts.init().params, 0, np.arange(3), np.arange(3, dtype=np.int32))
  return parts.generate(*args, None)[0]


def test_an_order_of_the_top_alone_is_the_baseline():
  plain = experiment()
  alone = tiny.experiment(
    "smoke,baseline",
    jax.devices()[:1],
    **{
      "baseline.order": (8,),
      "baseline.order_steps": (plain.config.baseline.steps,),
      "baseline.order_sigma_min": (plain.config.baseline.sigma_min,),
      "baseline.order_sigma_max": (plain.config.baseline.sigma_max,),
    },
  )
  np.testing.assert_array_equal(generate(plain)[0], generate(alone)[0])


def test_the_stages_are_as_the_config_says():
  parts = tiny.experiment("smoke,baseline", jax.devices()[:1], **ORDER)
  assert [s.resolution for s in parts.stages] == [8, 4, 8]
  assert [s.start for s in parts.stages] == ["noise", "handoff", "handoff"]
  for k, stage in enumerate(parts.stages):
    assert len(stage.sigmas) == ORDER["baseline.order_steps"][k] + 1
    assert stage.sigmas[-1] == 0
    np.testing.assert_allclose(
      stage.sigmas[[0, -2]],
      [
        ORDER["baseline.order_sigma_max"][k],
        ORDER["baseline.order_sigma_min"][k],
      ],
    )
  described = trained.describe(parts.config, parts.stages)
  assert [row["resolution"] for row in described] == [8, 4, 8]
  assert [row["nfe"] for row in described] == [3, 5, 3]
  assert [image.shape for image in generate(parts)] == [
    (3, side, side, 1) for side in (8, 4, 8)
  ]


def test_a_cascade_knows_no_order():
  plain, ordered = (tiny.experiment("smoke", **f) for f in ({}, ORDER))
  assert [s.resolution for s in ordered.stages] == [4, 8]
  for a, b in zip(plain.stages, ordered.stages, strict=True):
    np.testing.assert_array_equal(a.sigmas, b.sigmas)


@pytest.mark.parametrize("shared", [True, False])
def test_the_baselines_parameters_are_those_of_both_entries(shared):
  """So checkpoints load, and small images find nothing missing."""
  matched, whole = (
    tiny.experiment(
      "smoke,baseline", **{"model.entry": entry, "model.shared": shared}
    )
    for entry in ("matched", "whole")
  )
  shapes = [
    jax.tree.map(lambda x: (x.shape, x.dtype), e.state_shapes)
    for e in (matched, whole)
  ]
  assert shapes[0] == shapes[1]
  (name,) = matched.state_shapes.params
  assert name == ("backbone" if shared else "backbone_8x8")
  # Of the top resolution, nothing of the lower ones and of conditions.
  net = matched.state_shapes.params[name]
  assert net["enc_8x8_conv"]["kernel"].shape == (3, 3, 1, 8)
  assert not {"enc_4x4_conv", "dec_4x4_aux_conv"} & net.keys()
  denoise = matched.bind(matched.init().params)
  cond = Condition(label=jnp.zeros(2, jnp.int32))
  assert denoise(jnp.zeros((2, 4, 4, 1)), jnp.ones(2), cond).shape[1] == 4


@pytest.mark.parametrize("target", ["image", "residual"])
def test_the_baseline_minds_no_condition(target):
  parts = experiment(**{"stages.target": ("image", target)})
  denoise = parts.bind(parts.init().params)
  noisy, label = jnp.ones((2, 8, 8, 1)), jnp.zeros(2, jnp.int32)
  low = Condition(label, jnp.ones((2, 4, 4, 1)), jnp.ones(2))
  results = [denoise(noisy, jnp.ones(2), c) for c in (Condition(label), low)]
  np.testing.assert_array_equal(*results)


def test_small_images_are_scaled_by_their_own_deviation():
  """An untrained network returns c_skip of them."""
  parts = experiment()
  denoise = parts.bind(parts.init().params)
  cond = Condition(label=jnp.zeros(1, jnp.int32))
  for side, sigma_data in zip(
    parts.config.stages.resolutions, parts.config.stages.sigma_data, strict=True
  ):
    clean = denoise(jnp.ones((1, side, side, 1)), jnp.ones(1), cond)
    skip = sigma_data**2 / (1 + sigma_data**2)
    np.testing.assert_allclose(clean, skip, atol=1e-3)


MISTAKES = [
  ("order_steps", (2, 3), "order_steps = (2, 3): expected 3 values"),
  ("order_sigma_min", (1.0,), "order_sigma_min = (1.0,): expected 3 values"),
  ("order_sigma_max", (), "order_sigma_max = (): expected 3 values"),
  ("order_steps", (2, 0, 2), "order_steps = (2, 0, 2): expected a tuple"),
  ("order", (8, 2, 8), "order = (8, 2, 8): expected some of"),
  ("order", (8, 8, 4), "order = (8, 8, 4): expected some of"),
  ("order_sigma_min", (10.0, 5.0, 0.1), "must be below order_sigma_max"),
]


@pytest.mark.parametrize(("field", "value", "said"), MISTAKES)
def test_wrong_orders_are_named(field, value, said):
  config = tiny.config("smoke,baseline", **ORDER)
  config.baseline[field] = value
  with pytest.raises(UserError) as error:
    check(config)
  assert said in str(error.value)
  assert f"config.baseline.{field}" in str(error.value)


def test_a_unet_must_halve_the_images():
  said = r"order = \(8, 4, 8\): .* take multiples of 8"
  with pytest.raises(UserError, match=said):
    tiny.config("smoke,baseline", **ORDER, **{"model.channel_mult": (1,) * 4})


def test_a_flow_has_no_order(tmp_path):
  done = command_line.run(
    f"--workdir={tmp_path}",
    "--config.baseline.order=(32,16,32)",
    config="imagenet256.py:smoke,baseline",
  )
  assert done.returncode == 2 and "Traceback" not in done.stderr
  assert "order: no such field but with model.precondition" in done.stderr
