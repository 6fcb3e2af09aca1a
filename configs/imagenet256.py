"""ImageNet 256x256 as a cascade of latents, 8 -> 16, by LightningDiT-B/1.

  python -m lowdiff_jax.main --config=configs/imagenet256.py

The recipe is LightningDiT's (arXiv 2501.01423) on the latents of its VA-VAE:
AdamW's rates, batch, times, direction loss and average are its own; what is
LowDiff's is derived, not tuned. It needs ImageNet's two tars and the weights of
the VA-VAE, and says where to put them; the first start encodes the pictures.
Not run at full size here.

Arguments, as in --config=configs/imagenet256.py:three,160ep
  baseline  the same network and recipe at 16x16 alone, 249 Euler steps.
  three     the stages are 4 -> 8 -> 16.
  160ep     160 epochs instead of 64.
  800ep     800 epochs.
  xl        LightningDiT-XL/1 instead of B/1.
  small     for one GPU: batches of 256, 20 epochs.
  smoke     all of it in a minute, on drawn shapes and an untrained autoencoder.
"""

from ml_collections import ConfigDict

from lowdiff_jax.experiment import page

EPOCH = 1_281_167


def get_config(arguments: str = "") -> ConfigDict:
  """The config; see the module's text for the arguments."""
  known = ("baseline", "three", "160ep", "800ep", "xl", "small", "smoke")
  chosen = page.chosen(arguments, *known)
  config = ConfigDict()
  config.seed = 0
  config.data = {
    "space": "latents",
    "source": "tfds:imagenet2012",
    "crop": "adm",
    "dir": "",
    "hold_out": 0.1,
    "labels": True,
    "augment": 0.0,
  }
  config.autoencoder = {
    "kind": "ldm",
    "weights": "vavae-imagenet256-f16d32-dinov2.pt",
    "channels": 128,
    "channel_mult": (1, 1, 2, 2, 4),
    "num_blocks": 2,
    "attn_resolutions": (16,),
    "latent_channels": 32,
    "resolution": 256,
    "dtype": "float32",
    "batch_size": 64,
  }
  config.latents = {
    "dir": "",
    "pyramid": "pool",
    "posterior": "sample",
    "flip": True,
    "shard_images": 1024,
    "statistics": "",
  }
  config.mesh = {"data": -1, "fsdp": 1}

  config.model = {
    "backbone": "dit",
    "precondition": "flow",
    "hidden_size": 768,
    "depth": 12,
    "num_heads": 12,
    "qk_norm": False,
    "positions": "integer",
    "remat": "none",
    "label_dropout": 0.1,
    "dtype": "bfloat16",
    "shared": True,
    "init_from": "",
  }

  config.cascade = "baseline" not in chosen
  config.stages = {
    "resolutions": (8, 16),
    "images": (1024, 1024),
    "p_mean": (0.0, 0.0),  # LightningDiT's logit-normal times.
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
    "steps": (32, 16),
    "start": ("noise", "noise"),
    "sigma_max": (1e4, 1e4),
    # LightningDiT's 0.3; half the resolution is half the noise.
    "shift": (1.67, 3.33),
    "low_res_sigma": (0.0, 0.05),
    "churn": (0.0, 0.0),
    "churn_interval": (0.0, 1e6),
    "churn_noise": 1.0,
    # All 32 channels, for times of 0.1 to 0.6: arXiv 2512.02826 found it best
    # for B/1 alone. LightningDiT's own 10 is for 3 channels.
    "guidance_scale": (2.5, 2.5),
    "guidance_interval": (0.667, 9.0),
    "guidance_channels": 0,
    "images": 100,
    "first": 0,
    "seed": 0,
    "label": -1,
    "batch_size": 256,
    "checkpoint": -1,
    "gif": False,
  }
  config.baseline = {
    "sampler": "euler",
    "steps": 249,
    "sigma_max": 1e4,
    "shift": 3.33,
  }

  config.optimizer = {
    "learning_rate": 2e-4,
    "warmup_images": 0,
    "betas": (0.9, 0.95),
    "eps": 1e-8,
    "clip_norm": 1e6,  # LightningDiT does not clip.
  }
  # A decay of 0.9999 a step.
  config.ema = {"half_life_images": 7_100_000, "ramp": 0.05}
  config.train = {
    "images": 64 * EPOCH,
    "log_images": 102_400,
    "evaluate_images": 5_120_000,
    "checkpoint_images": 2_560_000,
    "keep_checkpoints": 2,
  }

  config.evaluation = {
    "images": 50_000,
    "seed_ranges": 1,
    "images_on_the_way": 2_000,
    "validation_images": 1_024,
    "input": "",
    "inception": "auto",
    "side": 299,
    "reference": "",
    "references": 0,
    "batch_size": 64,
  }
  config.benchmark = {
    "batch_size": 256,
    "repeats": 5,
    "baseline_steps": (50, 25),
  }
  config.sweep = {
    "sampler": ("dpmpp_2m", "heun"),
    "steps": ((32, 16), (24, 12), (16, 8), (12, 4)),
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

  if "three" in chosen:
    config.stages.update(
      {
        "resolutions": (4, 8, 16),
        "images": (1024, 1024, 1024),
        "p_mean": (0.0, 0.0, 0.0),
        "p_std": (1.0, 1.0, 1.0),
        "direction": (1.0, 1.0, 1.0),
        "loss_scale": (1.0, 1.0, 1.0),
        "min_low_res_sigma": (0.0, 0.0, 0.0),
        "max_low_res_sigma": (0.0, 0.2, 0.2),
        "target": ("image", "image", "image"),
        "consistency": (0.0, 0.0, 0.0),
      }
    )
    config.sampling.update(
      {
        "sampler": ("dpmpp_2m", "dpmpp_2m", "dpmpp_2m"),
        "steps": (32, 24, 16),
        "start": ("noise", "noise", "noise"),
        "sigma_max": (1e4, 1e4, 1e4),
        "shift": (0.83, 1.67, 3.33),
        "low_res_sigma": (0.0, 0.05, 0.05),
        "churn": (0.0, 0.0, 0.0),
        "guidance_scale": (2.5, 2.5, 2.5),
      }
    )
    config.sweep.steps = ((32, 24, 16), (24, 16, 12), (16, 12, 8), (12, 8, 4))

  for epochs in (160, 800):
    if f"{epochs}ep" in chosen:
      config.train.images = epochs * EPOCH

  if "xl" in chosen:
    config.model.update({"hidden_size": 1152, "depth": 28, "num_heads": 16})

  if "small" in chosen:
    config.stages.images = (256,) * len(config.stages.resolutions)
    # Its author's advice for batches of 256.
    config.optimizer.update({"learning_rate": 1e-4, "betas": (0.9, 0.999)})
    config.ema.half_life_images = 1_000_000
    config.train.update(
      {"images": 20 * EPOCH, "evaluate_images": EPOCH, "log_images": 25_600}
    )
    config.evaluation.update(
      {"images": 10_000, "images_on_the_way": 500, "references": 50_000}
    )

  if "smoke" in chosen:
    page.smoke(config)
    config.data.source = "tfds:shapes"
    config.autoencoder.update(
      {
        "weights": "random",
        "channels": 32,
        "channel_mult": (1, 2, 2),
        "num_blocks": 1,
        "attn_resolutions": (),
        "latent_channels": 4,
        "resolution": 64,
        "batch_size": 16,
      }
    )
    config.latents.shard_images = 16
  return config
