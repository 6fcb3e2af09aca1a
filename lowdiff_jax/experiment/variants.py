"""Fields that go with the value of another field, and what they may hold."""

from lowdiff_jax.experiment.rules import (
  PerStage,
  choice,
  flag,
  integer,
  number,
  positive,
  sequence,
  text,
)
from lowdiff_jax.experiment.schema import FIELDS, Fields
from lowdiff_jax.models.dit import POSITIONS, REMAT
from lowdiff_jax.models.unet import ENTRIES

# Fields of some configs: those that go with the value of another field.
VARIANTS: dict[str, dict[str, Fields]] = {
  "model.backbone": {
    # EDM's DDPM++.
    "unet": {
      "model.channels": integer(4),
      "model.channel_mult": sequence(integer(1)),
      "model.num_blocks": integer(1),
      "model.attn_resolutions": sequence(integer(1)),
      "model.dropout": number(0, 1),
      "model.entry": choice(*ENTRIES),
    },
    # LightningDiT with patches of one pixel.
    "dit": {
      "model.hidden_size": integer(4),
      "model.depth": integer(1),
      "model.num_heads": integer(1),
      "model.qk_norm": flag,
      "model.positions": choice(*POSITIONS),
      # What is computed again in the backward pass, to save memory.
      "model.remat": choice(*REMAT),
      # Leading channels that are guided; 0 for all. LightningDiT's published
      # scales are for 3 of 32, and no measure for all of them.
      "sampling.guidance_channels": integer(0),
    },
  },
  "model.precondition": {
    "edm": {
      # Root of the mean square of what is denoised.
      "stages.sigma_data": PerStage(positive),
      "sampling.sigma_min": PerStage(positive),
      "sampling.rho": PerStage(positive),
      "baseline.sigma_min": positive,
      "baseline.rho": positive,
      # The baseline's network at several resolutions without further training,
      # in this order, such as (32, 16, 32); () for the top alone. For each, its
      # steps and where it begins and ends before its last step, to the clean
      # estimate; sigma is in units of the stage's own image, where halving the
      # resolution halves the noise. A flow's grid cannot end early.
      "baseline.order": sequence(integer(1)),
      "baseline.order_steps": sequence(integer(1)),
      "baseline.order_sigma_min": sequence(positive),
      "baseline.order_sigma_max": sequence(positive),
    },
    "flow": {
      # Weight of the direction loss beside that of the velocity.
      "stages.direction": PerStage(number(0)),
      # Of the times; LightningDiT's 0.3 is 1 / 0.3 here, see noise.flow_sigmas.
      "sampling.shift": PerStage(positive),
      "baseline.shift": positive,
    },
  },
  "data.space": {
    "pixels": {},
    # The images are encoded once, to a data set in latents.dir ("": beside
    # those of TFDS).
    "latents": {
      "latents.dir": text,
      # The lower resolutions: of the latent itself, or of the image.
      "latents.pyramid": choice("pool", "reencode"),
      "latents.posterior": choice("sample", "mode"),
      "latents.flip": flag,
      "latents.shard_images": integer(1),
      # A file with a published mean and std; "" for those measured.
      "latents.statistics": text,
      "autoencoder.kind": choice("ldm", "taef2"),
      # A file of published weights; "random" to try the code without.
      "autoencoder.weights": text,
      # Pictures encoded or decoded at a time.
      "autoencoder.batch_size": integer(1),
    },
  },
  "autoencoder.kind": {
    "ldm": {
      "autoencoder.channels": integer(4),
      "autoencoder.channel_mult": sequence(integer(1)),
      "autoencoder.num_blocks": integer(1),
      "autoencoder.attn_resolutions": sequence(integer(1)),
      "autoencoder.latent_channels": integer(1),
      # Side of the pictures it was trained on.
      "autoencoder.resolution": integer(1),
      "autoencoder.dtype": choice("float32", "bfloat16"),
    },
    "taef2": {},
  },
}
NAMES = FIELDS.keys() | {
  name
  for options in VARIANTS.values()
  for fields in options.values()
  for name in fields
}


def owner(name: str) -> str:
  """Which choice a field goes with, as a message says it; "" if with none."""
  for chooser, options in VARIANTS.items():
    for value, fields in options.items():
      if name in fields:
        return f" but with {chooser} = {value!r}"
  return ""
