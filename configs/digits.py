"""Real handwritten digits, 8x8 pixels, 10 classes, as a cascade 4 -> 8.

  python -m lowdiff_jax.main --config=configs/digits.py

Reached on 2 CPU cores in 5 minutes, evaluation and benchmark included: Frechet
distance 0.090 (held-out digits: 0.652), label agreement 0.969 (0.981), and 3.9
times the images/s of EDM's 18 Heun steps at 8x8, which reach 0.099 and 0.969.

Arguments, as in --config=configs/digits.py:baseline,smoke
  baseline  the same network and recipe at 8x8 alone, EDM's 18 Heun steps.
  smoke     everything in seconds; the images are noise.
"""

from lowdiff_jax.experiment import defaults

ARGUMENTS = ("baseline", "smoke")


def get_config(arguments: str = "") -> defaults.ConfigDict:
  """The config of the digits; arguments as above."""
  chosen = defaults.chosen(arguments, *ARGUMENTS)
  config = defaults.pixels(resolutions=(4, 8))
  config.cascade = "baseline" not in chosen
  config.data.source = "tfds:digits"
  config.model.update(
    {
      "channels": 16,
      "channel_mult": (1, 2),
      "num_blocks": 1,
      "attn_resolutions": (4,),
      "label_dropout": 0.1,
    }
  )
  defaults.set_stages(
    config,
    batch_size=64,
    sigma_data=(0.72, 0.85),
    p_mean=-0.8,
    steps=(10, 5),
    start="noise",
    sigma_min=0.01,
    sigma_max=40.0,
  )
  config.optimizer.update(
    {"learning_rate": 2e-3, "warmup_images": 6_400, "betas": (0.9, 0.99)}
  )
  config.ema.half_life_images = 16_000
  config.train.update(
    {
      "images": 192_000,
      "log_images": 6_400,
      "evaluate_images": 48_000,
      "checkpoint_images": 48_000,
    }
  )
  config.evaluation.update(
    {
      "images": 2_000,
      "images_during_training": 500,
      "validation_images": 256,
      "inception": "none",
    }
  )
  config.sweep.update(
    {
      "steps": ((10, 5), (10, 3), (6, 3), (5, 2)),
      "start": ("noise",),
      "baseline_steps": (18, 10, 6),
    }
  )
  if "smoke" in chosen:
    defaults.smoke(config)
  return config
