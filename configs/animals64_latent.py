"""Animals of 64x64 pixels as a cascade of latents, 4 -> 8, on two CPU cores.

  python -m lowdiff_jax.main --config=configs/animals64_latent.py

A real latent space at the smallest size: TAEF2 makes a 64x64 image an 8x8
latent of 32 channels, and a small LightningDiT is trained on these, with the
losses, times and guidance of `imagenet256.py`. The images are 20 classes of
Tiny ImageNet (http://cs231n.stanford.edu/tiny-imagenet-200.zip; research only),
whose folders go into data/animals64, and TAEF2's two files into data/taef2.
docs/animals64.md has the commands, and what an hour on two shared cores gave.

Arguments, as in --config=configs/animals64_latent.py:baseline
  baseline  the same network and recipe at 8x8 alone, 50 Euler steps.
  reencode  the condition is the latent of the reduced image.
  smoke     all of it in 90 seconds, on drawn shapes and untrained TAEF2.
"""

from lowdiff_jax.experiment import defaults

ARGUMENTS = ("baseline", "reencode", "smoke")


def get_config(arguments: str = "") -> defaults.ConfigDict:
  """The config of the animals; arguments as above."""
  chosen = defaults.chosen(arguments, *ARGUMENTS)
  config = defaults.latents(resolutions=(4, 8), autoencoder="taef2")
  config.cascade = "baseline" not in chosen
  config.data.source = "folder:data/animals64"
  config.autoencoder.weights = "data/taef2"
  config.latents.update(
    {
      "pyramid": "reencode" if "reencode" in chosen else "pool",
      "posterior": "mode",  # TAEF2 has no other.
    }
  )
  config.model.update(
    {
      "hidden_size": 192,
      "depth": 6,
      "num_heads": 6,
      "qk_norm": True,
      "label_dropout": 0.1,
    }
  )
  defaults.set_stages(
    config,
    batch_size=(128, 64),
    steps=(24, 12),
    shift=(1.0, 2.0),
    guidance_scale=2.0,
  )
  config.sampling.update({"guidance_interval": (0.3, 9.0), "batch_size": 100})
  config.baseline.shift = 2.0
  config.optimizer.update(
    {"learning_rate": 5e-4, "warmup_images": 6_400, "betas": (0.9, 0.99)}
  )
  config.ema.half_life_images = 10_000
  config.train.update(
    {
      "images": 96_000,
      "log_images": 3_200,
      "evaluate_images": 32_000,
      "checkpoint_images": 16_000,
    }
  )
  config.evaluation.update(
    {
      "images": 1_000,
      "images_during_training": 100,
      "validation_images": 500,
      "references": 2_000,
    }
  )
  config.benchmark.update({"batch_size": 100, "baseline_steps": (24, 12)})
  config.sweep.steps = ((24, 16), (16, 8), (12, 6), (10, 4))
  if "smoke" in chosen:
    defaults.smoke(config)
    config.data.source = "tfds:shapes"
    config.autoencoder.weights = "random"
    config.latents.shard_images = 16
  return config
