"""FFHQ, 64x64 faces, as a cascade 16 -> 32 -> 64.

  python -m lowdiff_jax.main --config=configs/ffhq64.py

The network (DDPM++, 61.8 M parameters), batch, learning rate, average, dropout
and augmentation are those of EDM (arXiv 2206.00364, table 7), which trained for
four days on 8 V100 and reaches FID 2.39 with 79 evaluations. LowDiff reports
2.43 (arXiv 2509.15342). The images have to be fetched by hand: the README says
which and where to put them.

Never run but for `smoke`, on other pictures: the set was not at hand, so the
noise levels are EDM's and CIFAR-10's. --mode=measure proposes better ones.

Arguments, as in --config=configs/ffhq64.py:small
  baseline  the same network and recipe at 64x64 alone, EDM's 40 Heun steps.
  small     half the width, half the blocks and a twentieth of the images: for
            one GPU.
  smoke     everything in seconds; the pictures are noise.
"""

from ml_collections import ConfigDict

from lowdiff_jax.experiment import page


def get_config(arguments: str = "") -> ConfigDict:
  """The config; see the module's text for the arguments."""
  chosen = page.chosen(arguments, "baseline", "small", "smoke")
  config = ConfigDict()
  config.seed = 0
  config.data = {
    "space": "pixels",
    "source": "tfds:ffhq64",
    "crop": "none",
    "dir": "",
    "hold_out": 0.0,
    "labels": False,
    "augment": 0.15,
  }
  config.mesh = {"data": -1, "fsdp": 1}

  config.model = {
    "backbone": "unet",
    "precondition": "edm",
    "channels": 128,
    "channel_mult": (1, 2, 2, 2),
    "num_blocks": 4,
    "attn_resolutions": (16,),
    "dropout": 0.05,
    "label_dropout": 0.0,
    "entry": "matched",
    "shared": True,
    "dtype": "float32",
    "init_from": "",
  }

  config.cascade = "baseline" not in chosen
  config.stages = {
    "resolutions": (16, 32, 64),
    "images": (256, 256, 256),
    "sigma_data": (0.5, 0.5, 0.5),  # EDM's.
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
    "steps": (24, 14, 10),
    "start": ("noise", "handoff", "handoff"),
    "sigma_min": (0.002, 0.002, 0.002),
    # 80/4; then CIFAR-10's.
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
    "batch_size": 250,
    "checkpoint": -1,
    "gif": False,
  }
  config.baseline = {
    "sampler": "heun",
    "steps": 40,
    "sigma_min": 0.002,
    "sigma_max": 80.0,
    "rho": 7.0,
    "order": (),
    "order_steps": (),
    "order_sigma_min": (),
    "order_sigma_max": (),
  }

  config.optimizer = {
    "learning_rate": 2e-4,
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
    "batch_size": 250,
    "repeats": 5,
    "baseline_steps": (40, 20),
  }
  config.sweep = {
    "sampler": ("dpmpp_2m", "heun"),
    "steps": ((18, 10, 8), (12, 8, 5), (10, 6, 4), (10, 5, 3), (8, 4, 2)),
    "start": ("handoff", "noise"),
    "guidance_scale": (1.0,),
    "baseline_steps": (40, 18, 12, 8),
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
    config.stages.images = (128, 128, 128)
    config.optimizer.warmup_images = 100_000
    config.train.update(
      {
        "images": 10_000_000,
        "evaluate_images": 1_024_000,
        "checkpoint_images": 512_000,
      }
    )
    config.evaluation.images = 10_000

  if "smoke" in chosen:
    page.smoke(config)
  return config
