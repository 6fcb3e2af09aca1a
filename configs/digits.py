"""Real handwritten digits, 8x8 pixels, 10 classes, as a cascade 4 -> 8.

  python -m lowdiff_jax.main --config=configs/digits.py

Reached on 2 CPU cores in 5 minutes, scores and benchmark included: Frechet
distance 0.090 (held-out digits: 0.652), label agreement 0.969 (0.981), and 3.9
times the images/s of EDM's 18 Heun steps at 8x8, which reach 0.099 and 0.969.

Arguments, as in --config=configs/digits.py:baseline,smoke
  baseline  the same network and recipe at 8x8 alone, EDM's 18 Heun steps.
  smoke     everything in seconds; the pictures are noise.
"""

from ml_collections import ConfigDict

from lowdiff_jax.experiment import page


def get_config(arguments: str = "") -> ConfigDict:
  """The config; see the module's text for the arguments."""
  chosen = page.chosen(arguments, "baseline", "smoke")
  config = ConfigDict()
  config.seed = 0
  config.data = {
    "space": "pixels",
    "source": "tfds:digits",
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
    "channel_mult": (1, 2),
    "num_blocks": 1,
    "attn_resolutions": (4,),
    "dropout": 0.0,
    "label_dropout": 0.1,
    "entry": "matched",
    "shared": True,
    "dtype": "float32",
    "init_from": "",
  }

  config.cascade = "baseline" not in chosen
  config.stages = {
    "resolutions": (4, 8),
    "images": (64, 64),
    "sigma_data": (0.72, 0.85),
    "p_mean": (-0.8, -0.8),
    "p_std": (1.2, 1.2),
    "loss_scale": (1.0, 1.0),
    "min_low_res_sigma": (0.0, 0.0),
    "max_low_res_sigma": (0.0, 0.2),
    "target": ("image", "image"),
    "consistency": (0.0, 0.0),
    "upsample": "nearest",
  }
  config.sampling = {
    "sampler": ("dpmpp_2m", "dpmpp_2m"),
    "steps": (10, 5),
    "start": ("noise", "noise"),
    "sigma_min": (0.01, 0.01),
    "sigma_max": (40.0, 40.0),
    "rho": (7.0, 7.0),
    "low_res_sigma": (0.0, 0.05),
    "churn": (0.0, 0.0),
    "churn_interval": (0.0, 1e6),
    "churn_noise": 1.0,
    "guidance_scale": (1.0, 1.0),
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
    "learning_rate": 2e-3,
    "warmup_images": 6_400,
    "betas": (0.9, 0.99),
    "eps": 1e-8,
    "clip_norm": 1.0,
  }
  config.ema = {"half_life_images": 16_000, "ramp": 0.05}
  config.train = {
    "images": 192_000,
    "log_images": 6_400,
    "evaluate_images": 48_000,
    "checkpoint_images": 48_000,
    "keep_checkpoints": 2,
  }

  config.evaluation = {
    "images": 2_000,
    "seed_ranges": 1,
    "images_on_the_way": 500,
    "validation_images": 256,
    "input": "",
    "inception": "none",
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
    "steps": ((10, 5), (10, 3), (6, 3), (5, 2)),
    "start": ("noise",),
    "guidance_scale": (1.0,),
    "baseline_steps": (18, 10, 6),
  }
  config.tune = {
    "target": "quality",
    "factor": 1.0,
    "candidates": 24,
    "images": 1_000,
    "rounds": 3,
  }
  config.upscale = {"input": ""}

  if "smoke" in chosen:
    page.smoke(config)
  return config
