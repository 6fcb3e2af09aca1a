"""What the parts say to each other: names, shapes, units.

B is the batch, images are NHWC float32 in [-1, 1] (or normalised latents),
and sigma is the noise's standard deviation in the units of the image.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import jax

Array = jax.Array

# The label of an image that is denoised without its class.
NO_LABEL = -1


class UserError(ValueError):
  """A mistake of the user's; its text is one line and says the way out."""


class Condition(NamedTuple):
  """What a denoiser is told besides the noisy image.

  Attributes:
    label: [B] int32 class, `NO_LABEL` for none; None for unlabelled data.
    low_res: [B, H/2, W/2, C], the next lower resolution; None without one.
    low_res_sigma: [B], std of the noise that was added to `low_res`.
    augment: [B, D], how a training image was distorted; None if it was not.
  """

  label: Array | None = None
  low_res: Array | None = None
  low_res_sigma: Array | None = None
  augment: Array | None = None


# (noisy [B,H,W,C], sigma [B], condition) -> clean estimate [B,H,W,C], float32.
Denoiser = Callable[[Array, Array, Condition], Array]


class Preconditioning(NamedTuple):
  """D(x; sigma) = c_skip x + c_out F(c_in x; c_noise), each of sigma's shape.

  EDM (arXiv 2206.00364), equation 7.
  """

  c_skip: Array
  c_out: Array
  c_in: Array
  c_noise: Array


class Autoencoder(Protocol):
  """Images to latents and back, as diffusion in a latent space needs it.

  A linen module: `module.apply({"params": params}, image, method="encode")`.

  Attributes:
    factor: image pixels per latent pixel, along each side.
    latent_channels: C below.
  """

  factor: int
  latent_channels: int

  def encode(self, image: Array) -> tuple[Array, Array | None]:
    """The Gaussian that a latent of the image is drawn from.

    Args:
      image: [B,H,W,3] in [-1, 1], H and W multiples of `factor`.

    Returns:
      Mean and log variance, each [B,H/factor,W/factor,C] float32; None instead
      of the log variance if the mean is the latent.
    """

  def decode(self, latent: Array) -> Array:
    """The image [B,H,W,3] float32, in [-1, 1] up to overshoot, of a latent."""


class Sampler(Protocol):
  """Integrates from noise level sigmas[0] to sigmas[-1] = 0."""

  def __call__(
    self,
    denoise: Denoiser,
    keys: Array,
    noisy: Array,
    sigmas: Array,
    cond: Condition,
    *,
    trajectory: bool = False,
  ) -> tuple[Array, Array | None]:
    """Denoises a batch.

    Args:
      denoise: the denoiser.
      keys: [B] one key per image, for samplers that add noise.
      noisy: [B,H,W,C] images at noise level sigmas[0].
      sigmas: [N+1] strictly decreasing noise levels, the last one 0.
      cond: what the denoiser is told.
      trajectory: also return the clean estimate at each step.

    Returns:
      Images [B,H,W,C], and the estimates [N,B,H,W,C] or None.
    """


class Batch(NamedTuple):
  """What a source holds.

  Attributes:
    image: [B,H,W,C], pictures as uint8 or latents as float16; or such arrays of
      each resolution, the lowest first, where they do not follow from the
      highest.
    label: [B] int32, `NO_LABEL` without classes.
  """

  image: Array | tuple[Array, ...]
  label: Array


class Codec(NamedTuple):
  """What pictures are to the denoiser, and what it makes to the eye.

  Attributes:
    normalise: `Batch.image` -> the denoiser's images, float32 of about unit
      scale; traced in the training step.
    encode: pictures [B,R,R,channels] uint8 -> the denoiser's [B,r,r,C].
    decode: the denoiser's images [B,r,r,C] -> pictures [B,R,R,channels] uint8.
    factor: R / r.
    channels: of a picture.
  """

  normalise: Callable[[Any], Any]
  encode: Callable[[Array], Array]
  decode: Callable[[Array], Array]
  factor: int
  channels: int


class ImageSpec(NamedTuple):
  """What a model must know of its data; num_classes is 0 without labels."""

  resolution: int
  channels: int
  num_classes: int


class ImageSource(Protocol):
  """Random access to the images of one split, all of one size."""

  spec: ImageSpec
  class_names: Sequence[str]

  def __len__(self) -> int: ...

  def read(self, indices: Sequence[int]) -> Batch:
    """Returns the images or latents and the labels of indices."""


# Names to numbers; a name's slashes group it, as in "loss/8x8".
Metrics = dict[str, float | Array]


class Pictures(NamedTuple):
  """Pictures to score, which need not fit in memory.

  Attributes:
    count: how many.
    batch_size: in which they come.
    read: start -> their batches from picture `start` on, a multiple of
      batch_size; the last one may be smaller. Images are [B,H,W,C] uint8.
  """

  count: int
  batch_size: int
  read: Callable[[int], Iterator[Batch]]


class Score(NamedTuple):
  """One evaluator's verdict on a set of pictures; empty but on process 0.

  Attributes:
    values: the figures.
    protocol: how they were measured, and how fast.
  """

  values: dict[str, float]
  protocol: dict[str, object]


class Evaluator(NamedTuple):
  """What scores sets of pictures.

  Attributes:
    score: (pictures, folder=None, settings=None) -> Score. The folder keeps
      features, so that an interrupted call with the same settings (JSON) can go
      on; without one they are kept in memory.
    held_out: the figures of real pictures that were not trained on, if known.
    protocol: all that the figures depend on besides the pictures.
    shape: of a picture [H,W,C], if others would be a mistake.
  """

  score: Callable[..., Score]
  held_out: dict[str, float]
  protocol: dict[str, object]
  shape: tuple[int, int, int] | None
