"""Schedules: what of a config decides how its stages sample."""

import numpy as np
import pytest

from lowdiff_jax.cli.sweep import grid
from lowdiff_jax.experiment import sampling
from lowdiff_jax.experiment.overrides import override
from lowdiff_jax.experiment.schedule import (
  limits,
  overrides,
  read_schedule,
  schedule_stages,
)
from lowdiff_jax.schedules.space import vary
from tests import tiny

PAGES = [
  ("digits", ""),
  ("digits", "baseline"),
  ("cifar10", "cond,tiny"),
  ("imagenet256", ""),
  ("imagenet256", "baseline"),
]


def same(a, b):
  for ours, theirs in zip(a, b, strict=True):
    np.testing.assert_array_equal(ours.sigmas, theirs.sigmas)
    assert ours.sampler == theirs.sampler and ours.start == theirs.start
    assert ours.resolution == theirs.resolution
    assert ours.low_res_sigma == theirs.low_res_sigma
    assert ours.guidance == theirs.guidance


@pytest.mark.parametrize(("name", "arguments"), PAGES)
def test_a_config_s_schedule_is_its_own(name, arguments):
  config = tiny.config(arguments, name)
  schedule = read_schedule(config)
  same(schedule_stages(config, schedule), sampling.sampling_stages(config))
  assert override(config, overrides(config, schedule)) == config


@pytest.mark.parametrize(("name", "arguments"), PAGES)
def test_variations_are_valid_and_reach_all(name, arguments):
  config = tiny.config(arguments, name)
  rng, start = np.random.default_rng(0), read_schedule(config)
  schedule, seen = start, {}
  for _ in range(200):
    schedule = vary(limits(config), schedule, rng)
    override(config, overrides(config, schedule))
    for k, stage in enumerate(schedule):
      for field, value in stage:
        seen.setdefault((k, field), set()).add(value)
  fixed = {field for (_, field), values in seen.items() if len(values) == 1}
  assert fixed <= {"start", "low_res_sigma", "guidance_scale", "churn"}
  if config.cascade:
    assert max(seen[1, "low_res_sigma"]) <= 0.2
    assert seen[0, "low_res_sigma"] == {0.0}


def test_a_grid_has_all_combinations():
  config = tiny.config("", "cifar10")
  schedules = [[dict(stage) for stage in s] for s in grid(config)]
  section = config.sweep
  assert len(schedules) == len(section.sampler) * len(section.steps) * 2
  noisy = [s for s in schedules if s[2]["start"] == "noise"]
  assert len(noisy) == len(schedules) // 2
  for stages in noisy:
    assert [s["sigma_max"] for s in stages] == [20.0, 40.0, 80.0]
  baseline = list(grid(tiny.config("baseline", "cifar10")))
  assert len(baseline) == len(section.sampler) * len(section.baseline_steps)
