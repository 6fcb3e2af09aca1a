"""Shared types and protocols: names, shapes, units.

B is the batch, images are NHWC float32 in [-1, 1] (or normalised latents),
and sigma is the noise's standard deviation in the units of the image.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

Array = jax.Array
# On a device, or in the host's memory.
AnyArray = jax.Array | np.ndarray

# The label of an image that is denoised without its class.
NO_LABEL = -1

# Of the longest message of a UserError, in characters.
_HALF = 600


def printable(text: str) -> str:
  """A text from names and values of files, which may hold anything, as a line.

  What is not printable is escaped, as in "\\n".
  """
  return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class UserError(ValueError):
  """A mistake of the user's; its text is one line and says the way out."""

  def __init__(self, text: str) -> None:
    """Makes the message printable.

    Args:
      text: the message; much of a very long one is left out.
    """
    if len(text) > 2 * _HALF:
      text = f"{text[:_HALF]} ... {text[-_HALF:]}"
    super().__init__(printable(text))


class Condition(NamedTuple):
  """The inputs of a denoiser besides the noisy image.

  Attributes:
    label: [B] int32 class, `NO_LABEL` for none; None for unlabelled data.
    low_res: [B, H/2, W/2, C], the next lower resolution; None without one.
    low_res_sigma: [B], std of the noise that was added to `low_res`.
    augment: [B, D], how a training image was distorted; None if it was not.
    position: [B], of a training image in its batch, by which its masks of
      dropout are drawn; None for no dropout.
  """

  label: Array | None = None
  low_res: Array | None = None
  low_res_sigma: Array | None = None
  augment: Array | None = None
  position: Array | None = None


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


class Backbone(Protocol):
  """The network F that `unified.UnifiedDenoiser` makes a denoiser of.

  A linen module.

  Attributes:
    embedding_dim: size of the noise embedding, to which that of the stage is
      added.
    condition_channels: trailing input channels that hold the condition; their
      weights start at zero. 0 for a network of one resolution.
  """

  condition_channels: int

  @property
  def embedding_dim(self) -> int: ...

  def __call__(
    self,
    x: Array,
    c_noise: Array,
    label: Array | None = None,
    stage: Array | None = None,
    *,
    augment: Array | None = None,
    position: Array | None = None,
  ) -> Array:
    """F(x; c_noise).

    Args:
      x: [B,H,W,C + condition_channels] scaled noisy image, condition last.
      c_noise: [B].
      label: [B] classes or `NO_LABEL`; needed if the network has classes.
      stage: [B, embedding_dim] added to the noise embedding.
      augment: [B, D] augmentation labels; None for zeros.
      position: [B] of each image in its batch, by which dropout is drawn; None
        for no dropout.

    Returns:
      [B,H,W,C] float32.
    """
    ...


class Autoencoder(Protocol):
  """Images to latents and back, as diffusion in a latent space needs it.

  A linen module: `module.apply({"params": params}, image, method="encode")`.

  Attributes:
    factor: image pixels per latent pixel, along each side.
    latent_channels: C below.
  """

  @property
  def factor(self) -> int: ...

  @property
  def latent_channels(self) -> int: ...

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


class Batch(NamedTuple):
  """What a source holds.

  Attributes:
    image: [B,H,W,C], pixels as uint8 or latents as float16; or such arrays of
      each resolution, the lowest first, where they do not follow from the
      highest.
    label: [B] int32, `NO_LABEL` without classes.
  """

  image: Any
  label: Any


class Codec(NamedTuple):
  """Maps images to model space and back.

  Attributes:
    normalise: `Batch.image` -> the denoiser's images, float32 of about unit
      scale; traced in the training step.
    encode: images [B,R,R,channels] uint8 -> the denoiser's [B,r,r,C].
    decode: the denoiser's [B,r,r,C] -> images [B,R,R,channels] uint8.
    factor: R / r.
    channels: of a uint8 image.
  """

  normalise: Callable[[Any], Any]
  encode: Callable[[AnyArray], Array]
  decode: Callable[[AnyArray], Array]
  factor: int
  channels: int


class ImageSpec(NamedTuple):
  """What a model must know of its data; num_classes is 0 without labels."""

  resolution: int
  channels: int
  num_classes: int


class ImageSource(Protocol):
  """Random access to the images of one split, all of one size."""

  @property
  def spec(self) -> ImageSpec: ...

  @property
  def class_names(self) -> Sequence[str]: ...

  def __len__(self) -> int: ...

  def read(self, indices: Sequence[int] | np.ndarray) -> Batch:
    """Returns the images or latents and the labels of indices."""


# Names to numbers; a name's slashes group it, as in "loss/8x8".
Metrics = dict[str, float | Array]


class ImageSet(NamedTuple):
  """Images to score, which need not fit in memory.

  Attributes:
    count: how many.
    batch_size: in which they come.
    read: start -> their batches from image `start` on, a multiple of
      batch_size; the last one may be smaller. Images are [B,H,W,C] uint8.
  """

  count: int  # type: ignore[assignment]  # It hides tuple.count.
  batch_size: int
  read: Callable[[int], Iterator[Batch]]


class Score(NamedTuple):
  """The metrics of a set of images; empty but on process 0.

  Attributes:
    values: by name.
    protocol: how they were measured, and how fast.
  """

  values: dict[str, float]
  protocol: dict[str, object]


class Evaluator(NamedTuple):
  """Computes the metrics of sets of images.

  Attributes:
    score: (images, folder=None, settings=None) -> Score. The folder keeps
      features, so that an interrupted call with the same settings (JSON) can go
      on; without one they are kept in memory.
    held_out: the metrics of real images that were not trained on, if known.
    protocol: all that the metrics depend on besides the images.
    shape: of an image [H,W,C], if others would be a mistake.
  """

  score: Callable[..., Score]
  held_out: dict[str, float]
  protocol: dict[str, object]
  shape: tuple[int, int, int] | None
