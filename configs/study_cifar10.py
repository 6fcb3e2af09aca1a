"""The study: what makes the cascade fast and good, on the real CIFAR-10.

  python -m launch.study --minutes=240

trains the variants below alike (same data, images, optimizer and width), scores
and times them and the other ways to sample them in ROWS, and writes one table
and its figure to runs/study: those of docs/results.md. Each variant is an
ordinary run, as in

  python -m lowdiff_jax.main --config=configs/study_cifar10.py:three

The network is DDPM++ of a uniform width as EDM's is, so that a small image is
as much cheaper; by default it is a tiny one (0.38 M parameters, for CPUs).

Arguments: at most one variant, `gpu`, `smoke`.
  gpu       64 channels, 10 million images: for one GPU. Not yet run.
  smoke     everything in seconds; the pictures are noise.

  two       16 -> 32, matched entry: what the others differ from; the default.
  baseline  32 alone.
  whole     small images run through all levels of the network.
  three     8 -> 16 -> 32.
  separate  a network for each resolution, both together as large as the shared
            one (Cascaded Diffusion).
  clean     the condition is trained without noise;
  fixed     ... with noise of one level.
  p_mean    the last stage is trained on lower noise levels.
  bilinear  the condition is enlarged bilinearly;
  bicubic   ... bicubically.
  more_low  twice the images for the lower resolution.
  less_high half the images for the higher one.
  residual  the last stage denoises x - up2(low_res).
  three_residual  8 -> 16 -> 32, and the last two stages do.
  three_consistent  goes on from it (--config.model.init_from=ITS_WORKDIR); its
            last stage is tuned for two evaluations.

A trained `baseline` also samples as a cascade that nothing was trained for
(Bottleneck Sampling, arXiv 2503.18940), 32 -> 16 -> 32, here from noise 80 to
10, as 5 at 16x16 to 0.3, and from 1 to the end (not tuned; 33 evaluations, of
which 15 at a quarter of the cost, for 35 of EDM's):

  python -m lowdiff_jax.main --config=configs/study_cifar10.py:baseline \
    --mode=evaluate --config.baseline.order="(32, 16, 32)" \
    --config.baseline.order_steps="(4, 8, 6)" \
    --config.baseline.order_sigma_max="(80.0, 5.0, 1.0)" \
    --config.baseline.order_sigma_min="(10.0, 0.3, 0.002)"

An order of (16, 32) goes up alone. With these flags and no argument,
--mode=benchmark times and scores it beside the cascade and the baseline.
"""

from ml_collections import ConfigDict

from lowdiff_jax.experiment import page

THREE_RESIDUAL = {
  "stages.target": ("image", "residual", "residual"),
  # Root of the mean square of the residual with the condition's noise.
  "stages.sigma_data": (0.46, 0.2, 0.17),
}
# What each variant changes in the page of `two`.
VARIANTS = {
  "two": {},
  "baseline": {"cascade": False},
  "whole": {"model.entry": "whole"},
  "three": {},
  "separate": {"model.shared": False, "model.channels": 12},
  "clean": {
    "stages.max_low_res_sigma": (0.0, 0.0),
    "sampling.low_res_sigma": (0.0, 0.0),
  },
  "fixed": {
    "stages.min_low_res_sigma": (0.0, 0.1),
    "stages.max_low_res_sigma": (0.0, 0.1),
    "sampling.low_res_sigma": (0.0, 0.1),
  },
  "p_mean": {"stages.p_mean": (-1.2, -1.8)},
  "bilinear": {"stages.upsample": "bilinear"},
  "bicubic": {"stages.upsample": "bicubic"},
  "more_low": {"stages.images": (64, 32)},
  "less_high": {"stages.images": (32, 16)},
  "residual": {
    "stages.target": ("image", "residual"),
    "stages.sigma_data": (0.49, 0.17),
  },
  "three_residual": THREE_RESIDUAL,
  "three_consistent": {
    **THREE_RESIDUAL,
    "stages.consistency": (0.0, 0.0, 0.75),
    # The others only have to stay what they are.
    "stages.images": (8, 8, 32),
    "sampling.sampler": ("dpmpp_2m", "dpmpp_2m", "consistency"),
    "sampling.steps": (18, 10, 2),
    # The second evaluation's level: at 0.002 it would change nothing.
    "sampling.sigma_min": (0.002, 0.002, 0.28),
    "optimizer.learning_rate": 5e-4,
  },
}

# Variants that go on from the averaged weights of another.
PARENTS = {"three_consistent": "three_residual"}


def _euler(steps: tuple[int, int, int], last: str = "euler") -> dict:
  """A schedule that --mode=tune has found, up to the steps."""
  return {
    "sampling.sampler": ("euler", "euler", last),
    "sampling.steps": steps,
    "sampling.sigma_max": (10.0, 1.35, 1.04),
    "sampling.sigma_min": (0.02, 0.02, 0.28 if last == "consistency" else 0.05),
    "sampling.rho": (7.0, 7.0, 10.0),
    "sampling.low_res_sigma": (0.0, 0.1, 0.05),
  }


def _bottleneck(steps: tuple[int, int, int], sampler: str) -> dict:
  """Bottleneck Sampling: high, low, high resolution."""
  return {
    "baseline.sampler": sampler,
    "baseline.order": (32, 16, 32),
    "baseline.order_steps": steps,
    "baseline.order_sigma_max": (80.0, 5.0, 1.0),
    "baseline.order_sigma_min": (10.0, 0.3, 0.002),
  }


# The rows of the table: a variant, and how its run is sampled otherwise.
ROWS = {
  **{variant: (variant, {}) for variant in VARIANTS},
  # Not handed off: the higher resolution starts from noise as the lower does,
  "noise": (
    "two",
    {
      "sampling.start": ("noise", "noise"),
      "sampling.sigma_max": (40.0, 80.0),
      "sampling.steps": (18, 18),
    },
  ),
  # ... or at the handoff's level, where it should still see the image.
  "noise_1.04": ("two", {"sampling.start": ("noise", "noise")}),
  # At 2, 4, 16 and 32 times the residuals instead of 8.
  **{
    f"handoff_{sigma}": ("two", {"sampling.sigma_max": (40.0, sigma)})
    for sigma in (0.26, 0.52, 2.08, 4.16)
  },
  # The noise added to the condition, else 0.05.
  **{
    f"condition_{sigma}": ("two", {"sampling.low_res_sigma": (0.0, sigma)})
    for sigma in (0.0, 0.1, 0.2)
  },
  # What --mode=tune has found for the baseline, and near it.
  **{
    f"euler_{steps}": (
      "baseline",
      {
        "baseline.sampler": "euler",
        "baseline.steps": steps,
        "baseline.rho": 10.0,
      },
    )
    for steps in (10, 6, 5, 4)
  },
  # ... and for the cascade. The last number is what the last stage needs.
  **{
    "tuned_" + "_".join(map(str, steps)): ("three_residual", _euler(steps))
    for steps in ((7, 6, 4), (7, 6, 2), (7, 6, 1), (4, 5, 1), (4, 3, 1))
  },
  **{
    f"consistent_7_6_{last}": (
      "three_consistent",
      _euler((7, 6, last), "consistency"),
    )
    for last in (2, 1)
  },
  **{
    f"dpmpp_{steps}": (
      "baseline",
      {"baseline.sampler": "dpmpp_2m", "baseline.steps": steps},
    )
    for steps in (18, 12, 8, 5)
  },
  # The baseline as a cascade that nothing was trained for (see above), and with
  # as few steps of the simplest solver as it does best with alone.
  "bottleneck_4_8_6": ("baseline", _bottleneck((4, 8, 6), "heun")),
  "bottleneck_2_2_2": ("baseline", _bottleneck((2, 2, 2), "euler")),
}


def get_config(arguments: str = "") -> ConfigDict:
  """The config; see the module's text for the arguments."""
  chosen = page.chosen(arguments, *VARIANTS, "gpu", "smoke")
  variants = chosen & VARIANTS.keys()
  if len(variants) > 1:
    raise ValueError(f"one variant at a time, not {', '.join(variants)}")
  variant = variants.pop() if variants else "two"
  count = 3 if variant.startswith("three") else 2
  later = count - 1

  config = ConfigDict()
  config.seed = 0
  config.data = {
    "space": "pixels",
    "source": "tfds:cifar10",
    "crop": "none",
    "dir": "",
    "hold_out": 0.1,
    "labels": True,
    "augment": 0.0,
  }
  config.mesh = {"data": -1, "fsdp": 1}

  config.model = {
    "backbone": "unet",
    "precondition": "edm",
    "channels": 16,
    "channel_mult": (2, 2, 2),
    "num_blocks": 1,
    "attn_resolutions": (),
    "dropout": 0.0,
    "label_dropout": 0.1,
    "entry": "matched",
    "dtype": "float32",
    "shared": True,
    "init_from": "",
  }

  config.cascade = True
  config.stages = {
    "resolutions": (8, 16, 32)[-count:],
    "images": (32, 32, 32)[-count:],
    "sigma_data": (0.46, 0.49, 0.5)[-count:],
    "p_mean": (-1.2, -1.2, -1.2)[-count:],
    "p_std": (1.2, 1.2, 1.2)[-count:],
    "loss_scale": (1.0, 1.0, 1.0)[-count:],
    "min_low_res_sigma": (0.0,) * count,
    "max_low_res_sigma": (0.0,) + (0.2,) * later,
    "target": ("image",) * count,
    "consistency": (0.0,) * count,
    "upsample": "nearest",
  }
  config.sampling = {
    "sampler": ("dpmpp_2m",) * count,
    "steps": (18, 10, 8) if count == 3 else (18, 8),
    "start": ("noise",) + ("handoff",) * later,
    "sigma_min": (0.002,) * count,
    # 80 halved with each halving; then 8 times the residuals.
    "sigma_max": (20.0, 1.35, 1.04) if count == 3 else (40.0, 1.04),
    "rho": (7.0,) * count,
    "low_res_sigma": (0.0,) + (0.05,) * later,
    "churn": (0.0,) * count,
    "churn_interval": (0.0, 1e6),
    "churn_noise": 1.0,
    "guidance_scale": (1.0,) * count,
    "guidance_interval": (0.0, 1e6),
    "images": 100,
    "first": 0,
    "seed": 0,
    "label": -1,
    "batch_size": 100,
    "checkpoint": -1,
    "gif": False,
  }
  config.baseline = {
    "sampler": "heun",
    "steps": 18,
    "sigma_min": 0.002,
    "sigma_max": 80.0,
    "rho": 7.0,
    "order": (),
    "order_steps": (),
    "order_sigma_min": (),
    "order_sigma_max": (),
  }

  config.optimizer = {
    "learning_rate": 2e-3,
    "warmup_images": 3_200,
    "betas": (0.9, 0.999),
    "eps": 1e-8,
    "clip_norm": 1.0,
  }
  config.ema = {"half_life_images": 20_000, "ramp": 0.05}
  config.train = {
    "images": 64_000,
    "log_images": 3_200,
    "evaluate_images": 32_000,
    "checkpoint_images": 6_400,
    "keep_checkpoints": 1,
  }

  config.evaluation = {
    "images": 500,
    "seed_ranges": 3,
    # A run is not scored on its way.
    "images_on_the_way": 0,
    "validation_images": 500,
    "input": "",
    "inception": "auto",
    "side": 299,
    "reference": "",
    "references": 0,
    "batch_size": 64,
  }
  config.benchmark = {
    "batch_size": 100,
    "repeats": 5,
    "baseline_steps": (18, 10),
  }
  config.sweep = {
    "sampler": ("dpmpp_2m", "heun", "euler"),
    "steps": (
      ((18, 10, 8), (12, 8, 5), (10, 6, 4), (10, 5, 3), (8, 4, 2))
      if count == 3
      else ((18, 8), (12, 5), (10, 4), (10, 3), (8, 2))
    ),
    "start": ("handoff", "noise"),
    "guidance_scale": (1.0,),
    "baseline_steps": (18, 12, 10, 8, 6, 5, 4),
  }
  config.tune = {
    "target": "quality",
    "factor": 1.0,
    # With sweep's images, a sixth of what a sweep scores.
    "candidates": 16,
    "images": 500,
    "rounds": 3,
  }
  config.upscale = {"input": ""}
  config.update_from_flattened_dict(VARIANTS[variant])

  if "gpu" in chosen:
    config.model.update({"channels": 64, "num_blocks": 2, "dropout": 0.1})
    if variant == "separate":
      config.model.channels = 40
    # Sixteen times the batch, in the same proportions.
    config.stages.images = tuple(16 * n for n in config.stages.images)
    config.optimizer.update({"learning_rate": 1e-3, "warmup_images": 100_000})
    if variant == "three_consistent":
      config.optimizer.learning_rate = 2.5e-4
    config.ema.half_life_images = 200_000
    config.train.update(
      {
        "images": 10_000_000,
        "log_images": 51_200,
        "evaluate_images": 2_560_000,
        "checkpoint_images": 512_000,
      }
    )
    config.evaluation.images = 10_000
    config.sampling.batch_size = 500
    config.benchmark.batch_size = 500

  if "smoke" in chosen:
    page.smoke(config)
  return config
