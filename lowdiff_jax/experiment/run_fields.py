"""Fields of the model, its data and its training.

Those that `_run` makes define a run, and are fixed once it has begun.
"""

from typing import Any

from lowdiff_jax.data.images import CROPS
from lowdiff_jax.experiment.rules import (
  Rule,
  choice,
  flag,
  integer,
  number,
  positive,
  sequence,
  text,
)
from lowdiff_jax.experiment.schema import Field
from lowdiff_jax.models.dit import POSITIONS, REMAT
from lowdiff_jax.models.unet import ENTRIES


def _run(name: str, default: Any, rule: Rule, doc: str) -> Field:
  """A field that is fixed once the run has begun."""
  return Field(name, default, rule, doc, trained=True)


MODEL_FIELDS = (
  _run("seed", 0, integer(0), "of initialisation, data order, training noise"),
  _run("data.space", "pixels", choice("pixels", "latents"), "of the denoiser"),
  _run("data.source", "tfds:cifar10", text, "tfds:<name> or folder:<path>"),
  _run("data.crop", "none", choice(*CROPS), "of images that are no squares"),
  Field("data.dir", "", text, "where TFDS keeps its sets; '': its default"),
  _run(
    "data.hold_out",
    0.1,
    number(0, 0.5),
    "part held out of a set without a test split; 0: validate on trained ones",
  ),
  _run("data.labels", True, flag, "train with the classes that the data has"),
  _run("data.augment", 0.0, number(0, 1), "probability of EDM's distortions"),
  Field("mesh.data", -1, integer(-1), "devices; -1: all that fsdp leaves"),
  Field("mesh.fsdp", 1, integer(1), "devices that share each parameter"),
  _run("cascade", True, flag, "False: the last stage alone, the baseline"),
  _run("model.backbone", "unet", choice("unet", "dit"), "the network"),
  _run("model.precondition", "edm", choice("edm", "flow"), "EDM, or a flow"),
  _run("model.label_dropout", 0.0, number(0, 1), "for guidance, above 0"),
  _run("model.shared", True, flag, "False: a network for each resolution"),
  _run(
    "model.dtype",
    "float32",
    choice("float32", "bfloat16"),
    "of convolutions and attention; all else is float32",
  ),
  _run(
    "model.init_from",
    "",
    text,
    "a new run's first weights: a published file, or a run of this network",
  ),
)
TRAINING_FIELDS = (
  _run("optimizer.learning_rate", 1e-3, positive, "Adam's"),
  _run("optimizer.warmup_images", 0, number(0), "of the rate's linear rise"),
  _run("optimizer.betas", (0.9, 0.999), sequence(number(0, 1), 2), "Adam's"),
  _run("optimizer.eps", 1e-8, positive, "Adam's"),
  _run("optimizer.clip_norm", 1.0, positive, "largest norm of a gradient"),
  _run("ema.half_life_images", 500_000, positive, "of the EMA weights"),
  _run("ema.ramp", 0.05, positive, "largest half-life, of the images seen"),
  Field("train.images", 200_000_000, positive, "to train on, in all"),
  Field("train.log_images", 51_200, positive, "between two logs"),
  Field("train.evaluate_images", 5_120_000, positive, "between evaluations"),
  Field("train.checkpoint_images", 2_560_000, positive, "between checkpoints"),
  Field("train.keep_checkpoints", 2, integer(1), "the newest that are kept"),
)
UNET_FIELDS = (
  _run("model.channels", 128, integer(4), "base width"),
  _run(
    "model.channel_mult",
    (2, 2, 2),
    sequence(integer(1)),
    "width of each level, in base widths",
  ),
  _run("model.num_blocks", 4, integer(1), "residual blocks per level"),
  _run(
    "model.attn_resolutions",
    (16,),
    sequence(integer(1)),
    "levels with self-attention, by their resolution",
  ),
  _run("model.dropout", 0.0, number(0, 1), "probability"),
  _run(
    "model.entry",
    "matching_level",
    choice(*ENTRIES),
    "where small images enter: at the level of their size, or at the top",
  ),
)
DIT_FIELDS = (
  _run("model.hidden_size", 768, integer(4), "width of a token"),
  _run("model.depth", 12, integer(1), "blocks"),
  _run("model.num_heads", 12, integer(1), "of attention"),
  _run("model.qk_norm", False, flag, "normalise queries and keys"),
  _run(
    "model.positions",
    "integer",
    choice(*POSITIONS),
    "of a small grid's tokens: their index, or stretched to the same extent",
  ),
  Field(
    "model.remat", "none", choice(*REMAT), "recomputed in the backward pass"
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
  Field("autoencoder.batch_size", 64, integer(1), "images at a time"),
)
LDM_FIELDS = (
  _run("autoencoder.channels", 128, integer(4), "base width"),
  _run(
    "autoencoder.channel_mult",
    (1, 1, 2, 2, 4),
    sequence(integer(1)),
    "width of each level, in base widths",
  ),
  _run("autoencoder.num_blocks", 2, integer(1), "residual blocks per level"),
  _run(
    "autoencoder.attn_resolutions",
    (16,),
    sequence(integer(1)),
    "levels with self-attention",
  ),
  _run("autoencoder.latent_channels", 32, integer(1), "of a latent"),
  _run("autoencoder.resolution", 256, integer(1), "of its training images"),
  _run(
    "autoencoder.dtype",
    "float32",
    choice("float32", "bfloat16"),
    "of convolutions and attention",
  ),
)
