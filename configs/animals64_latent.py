"""Animals of 64x64 pixels as a cascade of latents, 4 -> 8, on two CPU cores.

  python -m lowdiff_jax.main --config=configs/animals64_latent.py

A real latent space at the smallest size: TAEF2 makes a 64x64 picture an 8x8
latent of 32 channels, and a small LightningDiT is trained on these, with the
losses, times and guidance of `imagenet256.py`. The pictures are 20 classes of
Tiny ImageNet (http://cs231n.stanford.edu/tiny-imagenet-200.zip; research only),
whose folders go into data/animals64, and TAEF2's two files into data/taef2.
docs/animals64.md has the commands, and what an hour on two shared cores gave.

Arguments, as in --config=configs/animals64_latent.py:baseline
  baseline  the same network and recipe at 8x8 alone, 50 Euler steps.
  reencode  the condition is the latent of the reduced picture.
  smoke     all of it in 90 seconds, on drawn shapes and untrained TAEF2.
"""

from ml_collections import ConfigDict

from lowdiff_jax.experiment import page


def get_config(arguments: str = "") -> ConfigDict:
  """The config; see the module's text for the arguments."""
  chosen = page.chosen(arguments, "baseline", "reencode", "smoke")
  config = ConfigDict()
  config.seed = 0
  config.data = {
    "space": "latents",
    "source": "folder:data/animals64",
    "crop": "none",
    "dir": "",
    "hold_out": 0.1,
    "labels": True,
    "augment": 0.0,
  }
  config.autoencoder = {
    "kind": "taef2",
    "weights": "data/taef2",
    "batch_size": 64,
  }
  config.latents = {
    "dir": "",
    "pyramid": "reencode" if "reencode" in chosen else "pool",
    "posterior": "mode",  # TAEF2 has no other.
    "flip": True,
    "shard_images": 1024,
    "statistics": "",
  }
  config.mesh = {"data": -1, "fsdp": 1}

  config.model = {
    "backbone": "dit",
    "precondition": "flow",
    "hidden_size": 192,
    "depth": 6,
    "num_heads": 6,
    "qk_norm": True,
    "positions": "integer",
    "remat": "none",
    "label_dropout": 0.1,
    "shared": True,
    "dtype": "float32",
    "init_from": "",
  }

  config.cascade = "baseline" not in chosen
  config.stages = {
    "resolutions": (4, 8),
    "images": (128, 64),
    "p_mean": (0.0, 0.0),
    "p_std": (1.0, 1.0),
    "direction": (1.0, 1.0),
    "loss_scale": (1.0, 1.0),
    "min_low_res_sigma": (0.0, 0.0),
    "max_low_res_sigma": (0.0, 0.2),
    "target": ("image", "image"),
    "consistency": (0.0, 0.0),
    "upsample": "nearest",
  }
  config.sampling = {
    "sampler": ("dpmpp_2m", "dpmpp_2m"),
    "steps": (24, 12),
    "start": ("noise", "noise"),
    "sigma_max": (1e4, 1e4),
    "shift": (1.0, 2.0),
    "low_res_sigma": (0.0, 0.05),
    "churn": (0.0, 0.0),
    "churn_interval": (0.0, 1e6),
    "churn_noise": 1.0,
    "guidance_scale": (2.0, 2.0),
    "guidance_interval": (0.3, 9.0),
    "guidance_channels": 0,
    "images": 100,
    "first": 0,
    "seed": 0,
    "label": -1,
    "batch_size": 100,
    "checkpoint": -1,
    "gif": False,
  }
  config.baseline = {
    "sampler": "euler",
    "steps": 50,
    "sigma_max": 1e4,
    "shift": 2.0,
  }

  config.optimizer = {
    "learning_rate": 5e-4,
    "warmup_images": 6_400,
    "betas": (0.9, 0.99),
    "eps": 1e-8,
    "clip_norm": 1.0,
  }
  config.ema = {"half_life_images": 10_000, "ramp": 0.05}
  config.train = {
    "images": 96_000,
    "log_images": 3_200,
    "evaluate_images": 32_000,
    "checkpoint_images": 16_000,
    "keep_checkpoints": 2,
  }

  config.evaluation = {
    "images": 1_000,
    "seed_ranges": 1,
    "images_on_the_way": 100,
    "validation_images": 500,
    "input": "",
    "inception": "auto",
    "side": 299,
    "reference": "",
    "references": 2_000,
    "batch_size": 64,
  }
  config.benchmark = {
    "batch_size": 100,
    "repeats": 5,
    "baseline_steps": (24, 12),
  }
  config.sweep = {
    "sampler": ("dpmpp_2m", "heun"),
    "steps": ((24, 16), (16, 8), (12, 6), (10, 4)),
    "start": ("noise",),
    "guidance_scale": (1.0,),
    "baseline_steps": (50, 25, 12, 8),
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
    config.data.source = "tfds:shapes"
    config.autoencoder.weights = "random"
    config.latents.shard_images = 16
  return config
