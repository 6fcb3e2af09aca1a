"""The study: what makes the cascade fast and good, on the real CIFAR-10.

  python -m launch.study --minutes=240

trains the variants below alike (same data, images, optimizer and width), scores
and times them and the other ways to sample them in launch/study/cifar10.py, and
writes one table and its figure to runs/study: those of docs/results.md. Each
variant is an ordinary run, as in

  python -m lowdiff_jax.main --config=configs/study_cifar10.py:three

The network is DDPM++ of a uniform width as EDM's is, so that a small image is
as much cheaper; by default it is a tiny one (0.38 M parameters, for CPUs).

Arguments: at most one variant, `gpu`, `smoke`.
  gpu       64 channels, 10 million images: for one GPU. Not yet run.
  smoke     everything in seconds; the images are noise.

  two       16 -> 32, entry at the matching level: what the others differ from;
            the default.
  baseline  32 alone.
  whole     small images run through all levels of the network.
  three     8 -> 16 -> 32.
  separate  a network for each resolution, both together as large as the shared
            one (Cascaded Diffusion).
  clean     the condition is trained without noise;
  fixed     ... with noise of one level.
  p_mean    the last stage is trained on lower noise levels.
  more_low  twice the images for the lower resolution.
  less_high half the images for the higher one.
  residual  the last stage denoises x - upsample(low_res).
  three_residual  8 -> 16 -> 32, and the last two stages do.
"""

from lowdiff_jax.experiment import defaults

# What each variant changes in the page of `two`; see `_set` for the names.
VARIANTS = {
  "two": {},
  "baseline": {"cascade": False},
  "whole": {"model.entry": "top_level"},
  "three": {},
  "separate": {"model.shared": False, "model.channels": 12},
  "clean": {"s32.max_low_res_sigma": 0.0, "s32.low_res_sigma": 0.0},
  "fixed": {
    "s32.min_low_res_sigma": 0.1,
    "s32.max_low_res_sigma": 0.1,
    "s32.low_res_sigma": 0.1,
  },
  "p_mean": {"s32.p_mean": -1.8},
  "more_low": {"s16.batch_size": 64},
  "less_high": {"s32.batch_size": 16},
  # sigma_data: root of the mean square of the residual with its noise.
  "residual": {"s32.target": "residual", "s32.sigma_data": 0.17},
  "three_residual": {
    "s16.target": "residual",
    "s16.sigma_data": 0.2,
    "s32.target": "residual",
    "s32.sigma_data": 0.17,
  },
}


def get_config(arguments: str = "") -> defaults.ConfigDict:
  """The config of a variant; arguments as above."""
  chosen = defaults.chosen(arguments, *VARIANTS, "gpu", "smoke")
  variants = chosen & VARIANTS.keys()
  if len(variants) > 1:
    raise ValueError(f"one variant at a time, not {', '.join(variants)}")
  variant = variants.pop() if variants else "two"
  count = 3 if variant.startswith("three") else 2
  config = defaults.pixels(resolutions=(8, 16, 32)[-count:])
  config.model.update({"channels": 16, "num_blocks": 1, "label_dropout": 0.1})
  config.model.attn_resolutions = ()
  defaults.set_stages(
    config, batch_size=32, sigma_data=(0.46, 0.49, 0.5)[-count:]
  )
  config.optimizer.update({"learning_rate": 2e-3, "warmup_images": 3_200})
  config.ema.half_life_images = 20_000
  config.train.update({"images": 64_000, "evaluate_images": 32_000})
  config.train.update({"log_images": 3_200, "checkpoint_images": 6_400})
  config.train.keep_checkpoints = 1
  config.evaluation.update({"images": 500, "seed_ranges": 3})
  # A run is not scored on its way.
  config.evaluation.images_during_training = 0
  config.evaluation.validation_images = 500
  config.sampling.batch_size = config.benchmark.batch_size = 100
  config.sweep.sampler = ("dpmpp_2m", "heun", "euler")
  config.sweep.baseline_steps = (18, 12, 10, 8, 6, 5, 4)
  # With sweep's images, a sixth of what a sweep scores.
  config.tune.update({"candidates": 16, "images": 500})
  _set(config, VARIANTS[variant])
  if "gpu" in chosen:
    _enlarge(config, channels=40 if variant == "separate" else 64)
  if "smoke" in chosen:
    defaults.smoke(config)
  return config


def _set(config: defaults.ConfigDict, fields: dict[str, object]) -> None:
  """Sets fields by name, "s32.steps" being one of `config.stages`."""
  for name, value in fields.items():
    section, _, field = name.rpartition(".")
    parent = config.stages if section.startswith("s") else config
    (parent[section] if section else parent)[field] = value


def _enlarge(config: defaults.ConfigDict, channels: int) -> None:
  """The argument `gpu`."""
  config.model.update({"channels": channels, "num_blocks": 2, "dropout": 0.1})
  # Sixteen times the batch, in the same proportions.
  for stage in config.stages.values():
    stage.batch_size = 16 * stage.batch_size
  config.optimizer.update({"learning_rate": 1e-3, "warmup_images": 100_000})
  config.ema.half_life_images = 200_000
  config.train.update({"images": 10_000_000, "log_images": 51_200})
  config.train.update({"evaluate_images": 2_560_000})
  config.train.checkpoint_images = 512_000
  config.evaluation.images = 10_000
  config.sampling.batch_size = config.benchmark.batch_size = 500
