"""CIFAR-10, 32x32 photos of 10 classes, as a cascade 8 -> 16 -> 32.

  python -m lowdiff_jax.main --config=configs/cifar10.py

The network (DDPM++, 55.7 M parameters), batch, learning rate, average, dropout
and augmentation are those of EDM (arXiv 2206.00364, table 7), which trained for
two days on 8 V100. LowDiff reports FID 2.11 and IS 9.87 without classes, 1.94
and 10.03 with them (arXiv 2509.15342). Not yet run at this size: steps and
noise levels per stage follow from what --mode=measure finds and are not tuned.

Arguments, as in --config=configs/cifar10.py:cond,small
  uncond    without classes: the default.
  cond      with classes.
  baseline  the same network and recipe at 32x32 alone, EDM's 18 Heun steps.
  small     half the width, half the blocks and a twentieth of the images: for
            one GPU in under an hour. Not yet run.
  tiny      1.2 M parameters, 384,000 images: 90 minutes of two CPU cores. With
            `cond` the losses fall to 0.39, 0.21, 0.14 and the pictures look
            like CIFAR-10 from afar: docs/cifar10.md.
  smoke     everything in seconds; the pictures are noise.
"""

from ml_collections import ConfigDict

from lowdiff_jax.experiment import page


def get_config(arguments: str = "") -> ConfigDict:
  """The config; see the module's text for the arguments."""
  known = ("uncond", "cond", "baseline", "small", "tiny", "smoke")
  chosen = page.chosen(arguments, *known)
  config = ConfigDict()
  config.seed = 0
  config.data = {
    "space": "pixels",
    "source": "tfds:cifar10",
    "crop": "none",
    "dir": "",
    "hold_out": 0.1,
    "labels": "cond" in chosen,
    "augment": 0.12,
  }
  config.mesh = {"data": -1, "fsdp": 1}

  config.model = {
    "backbone": "unet",
    "precondition": "edm",
    "channels": 128,
    "channel_mult": (2, 2, 2),
    "num_blocks": 4,
    "attn_resolutions": (16,),
    "dropout": 0.13,
    "label_dropout": 0.0,
    "entry": "matched",
    "shared": True,
    "dtype": "float32",
    "init_from": "",
  }

  config.cascade = "baseline" not in chosen
  config.stages = {
    "resolutions": (8, 16, 32),
    "images": (512, 512, 512),
    # Measured: 0.459, 0.489, 0.506; EDM's own at the top.
    "sigma_data": (0.46, 0.49, 0.5),
    "p_mean": (-1.2, -1.2, -1.2),  # EDM's.
    "p_std": (1.2, 1.2, 1.2),
    "loss_scale": (1.0, 1.0, 1.0),
    "min_low_res_sigma": (0.0, 0.0, 0.0),
    "max_low_res_sigma": (0.0, 0.2, 0.2),
    "target": ("image", "image", "image"),
    "consistency": (0.0, 0.0, 0.0),
    "upsample": "nearest",
  }
  config.sampling = {
    "sampler": ("dpmpp_2m", "dpmpp_2m", "dpmpp_2m"),
    "steps": (18, 10, 8),
    "start": ("noise", "handoff", "handoff"),
    "sigma_min": (0.002, 0.002, 0.002),
    # 80/4; then 8 times the residuals, measured as 0.169 and 0.130.
    "sigma_max": (20.0, 1.35, 1.04),
    "rho": (7.0, 7.0, 7.0),
    "low_res_sigma": (0.0, 0.05, 0.05),
    "churn": (0.0, 0.0, 0.0),
    "churn_interval": (0.0, 1e6),
    "churn_noise": 1.0,
    "guidance_scale": (1.0, 1.0, 1.0),
    "guidance_interval": (0.0, 1e6),
    "images": 100,
    "first": 0,
    "seed": 0,
    "label": -1,
    "batch_size": 500,
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
    "learning_rate": 1e-3,
    "warmup_images": 10_000_000,
    "betas": (0.9, 0.999),
    "eps": 1e-8,
    "clip_norm": 1e6,  # EDM does not clip.
  }
  config.ema = {"half_life_images": 500_000, "ramp": 0.05}
  config.train = {
    "images": 200_000_000,
    "log_images": 51_200,
    "evaluate_images": 5_120_000,
    "checkpoint_images": 2_560_000,
    "keep_checkpoints": 2,
  }

  config.evaluation = {
    "images": 50_000,
    "seed_ranges": 1,
    "images_on_the_way": 2_000,
    "validation_images": 1_000,
    "input": "",
    "inception": "auto",
    "side": 299,
    "reference": "",
    "references": 0,
    "batch_size": 64,
  }
  config.benchmark = {
    "batch_size": 500,
    "repeats": 5,
    "baseline_steps": (18, 10),
  }
  config.sweep = {
    "sampler": ("dpmpp_2m", "heun"),
    "steps": ((18, 10, 8), (12, 8, 5), (10, 6, 4), (10, 5, 3), (8, 4, 2)),
    "start": ("handoff", "noise"),
    "guidance_scale": (1.0,),
    "baseline_steps": (18, 12, 10, 8, 6),
  }
  config.tune = {
    "target": "quality",
    "factor": 1.0,
    "candidates": 24,
    "images": 1_000,
    "rounds": 3,
  }
  config.upscale = {"input": ""}

  if "small" in chosen:
    config.model.update({"channels": 64, "num_blocks": 2})
    config.stages.images = (256, 256, 256)
    config.optimizer.warmup_images = 100_000
    config.train.update(
      {
        "images": 10_000_000,
        "evaluate_images": 1_024_000,
        "checkpoint_images": 512_000,
      }
    )
    config.evaluation.images = 10_000

  if "tiny" in chosen:
    config.data.augment = 0.0
    config.model.update(
      {
        "channels": 32,
        "channel_mult": (1, 2, 2),
        "num_blocks": 1,
        "attn_resolutions": (),
        "dropout": 0.0,
        "label_dropout": 0.1,
      }
    )
    config.stages.images = (128, 32, 16)
    config.optimizer.update(
      {"learning_rate": 2e-3, "warmup_images": 12_800, "clip_norm": 1.0}
    )
    config.ema.half_life_images = 20_000
    config.train.update(
      {
        "images": 384_000,
        "log_images": 6_400,
        "evaluate_images": 64_000,
        "checkpoint_images": 32_000,
      }
    )
    config.evaluation.update({"images": 1_000, "images_on_the_way": 100})
    config.sampling.batch_size = 100
    config.benchmark.batch_size = 100

  if "smoke" in chosen:
    page.smoke(config)
  return config
