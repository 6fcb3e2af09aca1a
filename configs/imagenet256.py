"""ImageNet 256x256 as a cascade of latents, 8 -> 16, by LightningDiT-B/1.

  python -m lowdiff_jax.main --config=configs/imagenet256.py

The recipe is LightningDiT's (arXiv 2501.01423) on the latents of its VA-VAE:
AdamW's rates, batch, times, cosine loss and EMA are its own; what is
LowDiff's is derived, not tuned. It needs ImageNet's two tars and the weights of
the VA-VAE, and says where to put them; the first start encodes the images.
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

from lowdiff_jax.experiment import defaults

ARGUMENTS = ("baseline", "three", "160ep", "800ep", "xl", "small", "smoke")
EPOCH = 1_281_167


def get_config(arguments: str = "") -> defaults.ConfigDict:
  """The config of ImageNet; arguments as above."""
  chosen = defaults.chosen(arguments, *ARGUMENTS)
  three = "three" in chosen
  config = defaults.latents(resolutions=(4, 8, 16) if three else (8, 16))
  config.cascade = "baseline" not in chosen
  config.data.update({"source": "tfds:imagenet2012", "crop": "adm"})
  config.autoencoder.weights = "vavae-imagenet256-f16d32-dinov2.pt"
  config.model.update({"label_dropout": 0.1, "dtype": "bfloat16"})
  defaults.set_stages(
    config,
    batch_size=1024,
    steps=(32, 24, 16) if three else (32, 16),
    # LightningDiT's 0.3; half the resolution is half the noise.
    shift=(0.83, 1.67, 3.33) if three else (1.67, 3.33),
    # All 32 channels, for times of 0.1 to 0.6: arXiv 2512.02826 found it best
    # for B/1 alone. LightningDiT's own 10 is for 3 channels.
    guidance_scale=2.5,
  )
  config.sampling.update({"guidance_interval": (0.667, 9.0), "batch_size": 256})
  config.baseline.update({"steps": 249, "shift": 3.33})
  config.optimizer.update(
    {
      "learning_rate": 2e-4,
      "betas": (0.9, 0.95),
      "clip_norm": 1e6,  # LightningDiT does not clip.
    }
  )
  # A decay of 0.9999 a step.
  config.ema.half_life_images = 7_100_000
  config.train.update({"images": 64 * EPOCH, "log_images": 102_400})
  config.evaluation.validation_images = 1_024
  config.benchmark.update({"batch_size": 256, "baseline_steps": (50, 25)})
  config.sweep.steps = ((32, 16), (24, 12), (16, 8), (12, 4))
  if three:
    config.sweep.steps = ((32, 24, 16), (24, 16, 12), (16, 12, 8), (12, 8, 4))
  for epochs in (160, 800):
    if f"{epochs}ep" in chosen:
      config.train.images = epochs * EPOCH
  if "xl" in chosen:
    config.model.update({"hidden_size": 1152, "depth": 28, "num_heads": 16})
  if "small" in chosen:
    _shrink(config)
  if "smoke" in chosen:
    _smoke(config)
  return config


def _shrink(config: defaults.ConfigDict) -> None:
  """The argument `small`."""
  defaults.set_stages(config, batch_size=256)
  # Its author's advice for batches of 256.
  config.optimizer.update({"learning_rate": 1e-4, "betas": (0.9, 0.999)})
  config.ema.half_life_images = 1_000_000
  config.train.update(
    {"images": 20 * EPOCH, "evaluate_images": EPOCH, "log_images": 25_600}
  )
  config.evaluation.update(
    {"images": 10_000, "images_during_training": 500, "references": 50_000}
  )


def _smoke(config: defaults.ConfigDict) -> None:
  """The argument `smoke`: drawn shapes, an untrained autoencoder."""
  defaults.smoke(config)
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
