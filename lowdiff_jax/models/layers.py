"""Layers shared by the backbones."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from lowdiff_jax.types import Array

# (key, shape, dtype) -> parameter.
Initializer = Callable[..., Array]


def xavier_uniform(gain: float = 1.0) -> Initializer:
  """gain U(-a, a) with a = sqrt(6 / (fan_in + fan_out)); zeros for gain 0."""
  if gain == 0:
    return nn.initializers.zeros
  return nn.initializers.variance_scaling(gain**2, "fan_avg", "uniform")


def zero_tail(init: Initializer, tail: int) -> Initializer:
  """`init`, except that the last `tail` input channels start at zero.

  An untrained network then ignores these channels.
  """

  def initialise(
    key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32
  ) -> Array:
    head = (*shape[:-2], shape[-2] - tail, shape[-1])
    kernel = init(key, head, dtype)
    return jnp.pad(kernel, [(0, 0)] * (len(shape) - 2) + [(0, tail), (0, 0)])

  return initialise


def positional_embedding(value: Array, features: int) -> Array:
  """[sin(value f_i), cos(value f_i)], f_i = 10000^(-i/(features/2 - 1)).

  DDPM++'s embedding with EDM's order of sine and cosine.

  Args:
    value: [B].
    features: even, at least 4.

  Returns:
    [B, features] float32.
  """
  half = features // 2
  frequencies = 10000.0 ** (-jnp.arange(half) / (half - 1))
  angles = value.astype(jnp.float32)[:, None] * frequencies
  return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=1)


class FourierEmbedding(nn.Module):
  """[sin(2 pi value f_i), cos(2 pi value f_i)], f_i ~ N(0, 16^2), fixed.

  NCSN++'s embedding. The frequencies are stored with the parameters, so that
  published weights bring theirs, and are never trained.
  """

  features: int

  @nn.compact
  def __call__(self, value: Array) -> Array:
    init = nn.initializers.normal(16.0)
    frequencies = self.param("freqs", init, (self.features // 2,))
    frequencies = jax.lax.stop_gradient(frequencies)
    angles = 2 * jnp.pi * value.astype(jnp.float32)[:, None] * frequencies
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=1)


def silu(x: Array) -> Array:
  """x sigmoid(x), as x/2 (1 + tanh(x/2)): fewer instructions on a TPU."""
  half = 0.5 * x
  return half + half * jnp.tanh(half)


def dropout(key: Array, position: Array, x: Array, rate: float) -> Array:
  """Zeroes elements with probability `rate`, divides the others by 1 - rate.

  Args:
    key: random key.
    position: [B]; the mask of image i depends on key and position[i] alone.
    x: [B,H,W,C].
    rate: probability, below 1.

  Returns:
    [B,H,W,C].
  """
  keys = jax.vmap(jax.random.fold_in, (None, 0))(key, position)
  draw = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - rate, x.shape[1:]))
  kept = draw(keys)
  # Otherwise the backward pass draws it again, twice.
  kept = jax.lax.optimization_barrier(kept)
  return jnp.where(kept, x / (1 - rate), 0.0)


@jax.custom_jvp
def _stored(x: Array) -> Array:
  """x; where it is differentiated, XLA computes it before what uses it.

  This holds neither for its gradient nor while sampling.
  """
  return x


_stored.defjvp(lambda x, dx: (jax.lax.optimization_barrier(*x), *dx))


@jax.custom_jvp
def stored_on_tpu(x: Array) -> Array:
  """x; where it is differentiated, a TPU stores it before it is used.

  Other devices are faster with x inside what uses it.
  """
  return x


def _on_tpu(x: Array) -> Array:
  barrier = jax.lax.optimization_barrier
  return jax.lax.platform_dependent(x, tpu=barrier, default=lambda x: x)


stored_on_tpu.defjvp(lambda x, dx: (_on_tpu(*x), *dx))


@jax.custom_jvp
def gradient_stored(x: Array) -> Array:
  """x, whose gradient XLA computes before, and not inside, what uses it."""
  return x


gradient_stored.defjvp(lambda x, dx: (*x, jax.lax.optimization_barrier(*dx)))


def _convolve(x: Array, *args: Any, **kwargs: Any) -> Array:
  """`conv_general_dilated` of a stored x, with a stored gradient of its result.

  In training, XLA for TPUs would compute norm, activation and dropout inside
  each of the convolutions that use them, two of them in the backward pass, and
  take minutes to compile one residual block: docs/accelerators.md.
  """
  y = jax.lax.conv_general_dilated(_stored(x), *args, **kwargs)
  return gradient_stored(y)


def conv(
  features: int, kernel: int = 3, *, gain: float = 1.0, **kwargs: Any
) -> nn.Conv:
  """A convolution with EDM's initialisation, padded to keep the size."""
  kwargs.setdefault("kernel_init", xavier_uniform(gain))
  return nn.Conv(
    features, (kernel, kernel), conv_general_dilated=_convolve, **kwargs
  )


class GroupNorm(nn.Module):
  """scale (x - mean) / sqrt(var + epsilon) + bias, over pixels and a group.

  Group normalisation (arXiv 1803.08494) in float32, with the parameters of
  `nn.GroupNorm`. Sums over pixels are combined into groups by a product with a
  matrix, since a TPU pads an axis of few channels to 128; the rest is one
  multiplication and one addition per element.

  Attributes:
    groups: number of groups of neighbouring channels.
    epsilon: added to the variance.
  """

  groups: int
  epsilon: float = 1e-6

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """[B,H,W,C] -> [B,H,W,C] float32."""
    channels = x.shape[-1]
    scale = self.param("scale", nn.initializers.ones, (channels,))
    bias = self.param("bias", nn.initializers.zeros, (channels,))
    x = x.astype(jnp.float32)
    size = channels // self.groups
    same_group = np.kron(np.eye(self.groups), np.full((size, size), 1 / size))
    mean, square = (
      jnp.dot(m, same_group.astype(np.float32), precision="highest")
      for m in (x.mean((1, 2)), jnp.square(x).mean((1, 2)))
    )
    var = jnp.maximum(square - jnp.square(mean), 0.0)
    scale = scale * jax.lax.rsqrt(var + self.epsilon)
    bias = bias - mean * scale
    return x * scale[:, None, None] + bias[:, None, None]


def group_norm(channels: int, name: str) -> GroupNorm:
  """EDM's group norm: at most 32 groups, of at least 4 channels."""
  return GroupNorm(min(32, channels // 4), name=name)
