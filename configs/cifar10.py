"""CIFAR-10, 32x32 photos of 10 classes, as a cascade 8 -> 16 -> 32.

  python -m lowdiff_jax.main --config=configs/cifar10.py

The network (DDPM++, 55.7 M parameters), batch, learning rate, EMA, dropout
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
            `cond` the losses fall to 0.39, 0.21, 0.14 and the images look
            like CIFAR-10 from afar: docs/cifar10.md.
  smoke     everything in seconds; the images are noise.
"""

from lowdiff_jax.experiment import defaults

ARGUMENTS = ("uncond", "cond", "baseline", "small", "tiny", "smoke")


def get_config(arguments: str = "") -> defaults.ConfigDict:
  """The config of CIFAR-10; arguments as above."""
  chosen = defaults.chosen(arguments, *ARGUMENTS)
  config = defaults.pixels(resolutions=(8, 16, 32))
  config.cascade = "baseline" not in chosen
  config.data.update({"labels": "cond" in chosen, "augment": 0.12})
  # EDM trained it in float32; convolutions are faster in 16 bits.
  config.model.update({"dropout": 0.13, "dtype": "bfloat16"})
  defaults.set_stages(
    config,
    batch_size=512,
    # Measured: 0.459, 0.489, 0.506; EDM's own at the top.
    sigma_data=(0.46, 0.49, 0.5),
  )
  config.optimizer.update(
    {
      "warmup_images": 10_000_000,
      "clip_norm": 1e6,  # EDM does not clip.
    }
  )
  if "small" in chosen:
    defaults.one_gpu(config, batch_size=256)
  if "tiny" in chosen:
    _shrink(config)
  if "smoke" in chosen:
    defaults.smoke(config)
  return config


def _shrink(config: defaults.ConfigDict) -> None:
  """The argument `tiny`."""
  config.data.augment = 0.0
  config.model.update(
    {
      "channels": 32,
      "channel_mult": (1, 2, 2),
      "num_blocks": 1,
      "attn_resolutions": (),
      "dropout": 0.0,
      "label_dropout": 0.1,
      "dtype": "float32",
    }
  )
  defaults.set_stages(config, batch_size=(128, 32, 16))
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
  config.evaluation.update({"images": 1_000, "images_during_training": 100})
  config.sampling.batch_size = 100
  config.benchmark.batch_size = 100
