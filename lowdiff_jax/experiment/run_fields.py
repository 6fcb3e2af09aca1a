"""Fields of the model, its data and its training.

Those that `_run` makes define a run, and are fixed once it has begun.
"""

from typing import Any

from lowdiff_jax.data.decode import MAX_PIXELS, WHITE
from lowdiff_jax.data.images import CROPS
from lowdiff_jax.experiment.rules import (
  MAX_WIDTH,
  Rule,
  batch_size,
  below_one,
  choice,
  depth,
  flag,
  grouped_width,
  integer,
  multiple,
  num_blocks,
  number,
  positive,
  positive_or_inf,
  seed,
  sequence,
  text,
  width,
)
from lowdiff_jax.experiment.schema import Field
from lowdiff_jax.experiment.train_fields import TRAIN_FIELDS
from lowdiff_jax.models.dit import POSITIONS, REMAT
from lowdiff_jax.models.unet import ENTRIES


def _run(name: str, default: Any, rule: Rule, doc: str) -> Field:
  """A field that is fixed once the run has begun."""
  return Field(name, default, rule, doc, trained=True)


MODEL_FIELDS = (
  _run(
    "seed", 0, seed, "seed of initialisation, data order and training noise"
  ),
  _run("data.space", "pixels", choice("pixels", "latents"), "model space"),
  _run(
    "data.source",
    "tfds:cifar10",
    text,
    "tfds:<name>, folder:<path>, zip:<path> or npz:<path>",
  ),
  _run(
    "data.crop",
    "none",
    choice(*CROPS),
    "how images that are not square are cropped",
  ),
  _run(
    "data.background",
    WHITE,
    sequence(integer(0, 255), 3),
    "(R, G, B) behind transparent images",
  ),
  _run(
    "data.max_pixels",
    MAX_PIXELS,
    integer(4096),
    "larger images are skipped before they are decoded",
  ),
  Field("data.dir", "", text, "folder of TFDS's data sets; '': its default"),
  _run(
    "data.hold_out",
    0.1,
    number(0, 0.5),
    "part held out if there is no test split; 0: validate on training images",
  ),
  _run(
    "data.labels", True, flag, "whether to train with the classes of the data"
  ),
  _run(
    "data.augment",
    0.0,
    number(0, 1),
    "probability of each of EDM's geometric augmentations",
  ),
  Field(
    "mesh.data",
    -1,
    integer(-1),
    "data-parallel devices; -1: all that fsdp leaves",
  ),
  Field(
    "mesh.fsdp",
    0,
    integer(0),
    "devices that share each parameter; 0: as few as have the memory",
  ),
  _run("cascade", True, flag, "False: the last resolution alone, the baseline"),
  _run(
    "model.backbone", "unet", choice("unet", "dit"), "EDM U-Net or LightningDiT"
  ),
  _run("model.precondition", "edm", choice("edm", "flow"), "of the denoiser"),
  _run(
    "model.label_dropout",
    0.0,
    number(0, 1),
    "probability of training without the label; guidance needs it",
  ),
  _run(
    "model.shared",
    True,
    flag,
    "False: a network for each resolution (Cascaded Diffusion)",
  ),
  _run(
    "model.dtype",
    "float32",
    choice("float32", "bfloat16"),
    "of convolutions and attention; the rest is float32",
  ),
  _run(
    "model.init_from",
    "",
    text,
    "initial weights: a published file, or the folder of a run",
  ),
)
TRAINING_FIELDS = (
  _run("optimizer.learning_rate", 1e-3, positive, "after the warm-up"),
  _run(
    "optimizer.warmup_images",
    0,
    number(0, 2e9),
    "images over which the rate rises linearly from 0",
  ),
  _run("optimizer.betas", (0.9, 0.999), sequence(below_one, 2), "of Adam"),
  _run("optimizer.eps", 1e-8, positive, "of Adam"),
  _run(
    "optimizer.clip_norm", 1.0, positive_or_inf, "largest norm of the gradient"
  ),
  _run(
    "ema.half_life_images", 500_000, positive, "half-life of the EMA weights"
  ),
  _run(
    "ema.ramp",
    0.05,
    positive_or_inf,
    "largest half-life as a share of the images seen",
  ),
  *TRAIN_FIELDS,
)
UNET_FIELDS = (
  _run("model.channels", 128, width, "base width"),
  _run(
    "model.channel_mult",
    (2, 2, 2),
    sequence(multiple, least=1),
    "width of each level, in base widths",
  ),
  _run("model.num_blocks", 4, num_blocks, "residual blocks per level"),
  _run(
    "model.attn_resolutions",
    (16,),
    sequence(integer(1)),
    "levels with self-attention, by their resolution",
  ),
  _run("model.dropout", 0.0, below_one, "probability"),
  _run(
    "model.entry",
    "matching_level",
    choice(*ENTRIES),
    "where small images enter: at the level of their size, or at the top",
  ),
)
DIT_FIELDS = (
  _run("model.hidden_size", 768, width, "width of a token"),
  _run("model.depth", 12, depth, "blocks"),
  _run("model.num_heads", 12, integer(1, MAX_WIDTH), "of attention"),
  _run("model.qk_norm", False, flag, "normalise queries and keys"),
  _run(
    "model.positions",
    "integer",
    choice(*POSITIONS),
    "of a small grid's tokens: their index, or stretched to the same extent",
  ),
  Field(
    "model.remat", "attention", choice(*REMAT), "kept for the backward pass"
  ),
  Field(
    "sampling.guidance_channels",
    0,
    integer(0),
    "leading channels that are guided; 0: all",
  ),
)
LATENTS_FIELDS = (
  Field("latents.dir", "", text, "of the encoded set; '': beside TFDS's"),
  _run(
    "latents.pyramid",
    "pool",
    choice("pool", "reencode"),
    "lower resolutions: of the latent itself, or of the reduced image",
  ),
  _run(
    "latents.posterior", "sample", choice("sample", "mode"), "a draw, or not"
  ),
  _run("latents.flip", True, flag, "also encode the mirrored images"),
  Field("latents.shard_images", 1024, integer(1), "in a file"),
  _run(
    "latents.statistics",
    "",
    text,
    "a published file of mean and std; '': measured ones",
  ),
  _run("autoencoder.kind", "ldm", choice("ldm", "taef2"), "the network"),
  Field(
    "autoencoder.weights", "random", text, "published file; random: untrained"
  ),
  Field("autoencoder.batch_size", 64, batch_size, "images at a time"),
)
LDM_FIELDS = (
  _run("autoencoder.channels", 128, grouped_width, "base width"),
  _run(
    "autoencoder.channel_mult",
    (1, 1, 2, 2, 4),
    sequence(multiple, least=1, most=8),
    "width of each level, in base widths",
  ),
  _run("autoencoder.num_blocks", 2, num_blocks, "residual blocks per level"),
  _run(
    "autoencoder.attn_resolutions",
    (16,),
    sequence(integer(1)),
    "levels with self-attention",
  ),
  _run("autoencoder.latent_channels", 32, integer(1, MAX_WIDTH), "of a latent"),
  _run("autoencoder.resolution", 256, integer(1), "of its training images"),
  _run(
    "autoencoder.dtype",
    "float32",
    choice("float32", "bfloat16"),
    "of convolutions and attention",
  ),
)
