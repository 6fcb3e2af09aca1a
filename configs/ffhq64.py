"""FFHQ, 64x64 faces, as a cascade 16 -> 32 -> 64.

  python -m lowdiff_jax.main --config=configs/ffhq64.py

The network (DDPM++, 61.8 M parameters), batch, learning rate, EMA, dropout
and augmentation are those of EDM (arXiv 2206.00364, table 7), which trained for
four days on 8 V100 and reaches FID 2.39 with 79 evaluations. LowDiff reports
2.43 (arXiv 2509.15342). The images have to be fetched by hand: docs/data.md
says which and where to put them.

Never run but for `smoke`, on other images: the set was not at hand, so the
noise levels are EDM's and CIFAR-10's. --mode=measure proposes better ones.

Arguments, as in --config=configs/ffhq64.py:small
  baseline  the same network and recipe at 64x64 alone, EDM's 40 Heun steps.
  small     half the width, half the blocks and a twentieth of the images: for
            one GPU.
  smoke     everything in seconds; the images are noise.
"""

from lowdiff_jax.experiment import defaults

ARGUMENTS = ("baseline", "small", "smoke")


def get_config(arguments: str = "") -> defaults.ConfigDict:
  """The config of FFHQ; arguments as above."""
  chosen = defaults.chosen(arguments, *ARGUMENTS)
  config = defaults.pixels(resolutions=(16, 32, 64))
  config.cascade = "baseline" not in chosen
  config.data.update(
    {
      "source": "tfds:ffhq64",
      "hold_out": 0.0,
      "labels": False,
      "augment": 0.15,
    }
  )
  # EDM trained it in float32; convolutions are faster in 16 bits.
  config.model.update(
    {"channel_mult": (1, 2, 2, 2), "dropout": 0.05, "dtype": "bfloat16"}
  )
  defaults.set_stages(config, batch_size=256, steps=(24, 14, 10))
  config.sampling.batch_size = 250
  config.baseline.steps = 40
  config.optimizer.update(
    {
      "learning_rate": 2e-4,
      "warmup_images": 10_000_000,
      "clip_norm": 1e6,  # EDM does not clip.
    }
  )
  config.benchmark.update({"batch_size": 250, "baseline_steps": (40, 20)})
  config.sweep.baseline_steps = (40, 18, 12, 8)
  if "small" in chosen:
    defaults.one_gpu(config, batch_size=128)
  if "smoke" in chosen:
    defaults.smoke(config)
  return config
