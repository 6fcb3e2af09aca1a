"""Attention, by the kernel that suits the device."""

import functools
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from lowdiff_jax.types import Array

# Name of the results that a policy of rematerialisation can keep.
KEPT = "attention"


def attention(
  query: Array, key: Array, value: Array, *, capability: str | None = None
) -> Array:
  """softmax(q k^T / sqrt(D)) v, the softmax in float32.

  Args:
    query, key, value: [B,T,heads,D].
    capability: compute capability of the NVIDIA GPU that runs it, such as
      "9.0"; None for any other device.

  Returns:
    [B,T,heads,D]; computed by cuDNN's fused kernel where `cudnn_attends`.
  """
  if cudnn_attends(capability, query.dtype, query.shape[-1]):
    return jax.nn.dot_product_attention(
      query, key, value, implementation="cudnn"
    )
  # Scaled scores would be a pass of their own over [B,heads,T,T] on a TPU.
  return _softmax_attention(query * query.shape[-1] ** -0.5, key, value)


@jax.custom_vjp
def _softmax_attention(query: Array, key: Array, value: Array) -> Array:
  """softmax(q k^T) v; the backward pass computes the softmax again.

  So [B,heads,T,T] is never kept, and gradients of the scores are rounded to the
  dtype of the queries before they are multiplied (FlashAttention, arXiv
  2205.14135, algorithm 4, without its tiles).
  """
  return _forward(query, key, value)[0]


def _forward(
  query: Array, key: Array, value: Array
) -> tuple[Array, tuple[Array, ...]]:
  """The result, and what `_backward` takes."""
  scores = _product("bqhd,bkhd->bhqk", query, key)
  largest = scores.max(-1, keepdims=True)
  weights = jnp.exp(scores - largest)
  total = weights.sum(-1, keepdims=True)
  out = _product("bhqk,bkhd->bqhd", weights.astype(value.dtype), value)
  out = (out / jnp.moveaxis(total, 1, 2)).astype(value.dtype)
  log_total = largest + jnp.log(total)
  out, log_total = (checkpoint_name(x, KEPT) for x in (out, log_total))
  return out, (query, key, value, out, log_total)


def _backward(
  kept: tuple[Array, ...], grad: Array
) -> tuple[Array, Array, Array]:
  """The gradients of queries, keys and values."""
  query, key, value, out, log_total = kept
  weights = jnp.exp(_product("bqhd,bkhd->bhqk", query, key) - log_total)
  # d scores = weights (grad v^T - sum_d grad out).
  mean = (grad.astype(jnp.float32) * out.astype(jnp.float32)).sum(-1)
  by_weight = _product("bqhd,bkhd->bhqk", grad, value)
  by_score = weights * (by_weight - jnp.moveaxis(mean, 1, 2)[..., None])
  by_score = by_score.astype(query.dtype)
  return (
    jnp.einsum("bhqk,bkhd->bqhd", by_score, key),
    jnp.einsum("bhqk,bqhd->bkhd", by_score, query),
    jnp.einsum("bhqk,bqhd->bkhd", weights.astype(grad.dtype), grad),
  )


_softmax_attention.defvjp(_forward, _backward)


def _product(formula: str, a: Array, b: Array) -> Array:
  return jnp.einsum(formula, a, b, preferred_element_type=jnp.float32)


def fused_attention(device: jax.Device) -> Callable[..., Array]:
  """`attention` with the fastest kernel for `device`."""
  capability = getattr(device, "compute_capability", None)
  if capability == "9.0" and device not in jax.devices():
    # JAX lets larger heads through only where it finds a Hopper itself.
    capability = "8.9"
  return functools.partial(attention, capability=capability)


def cudnn_attends(capability: str | None, dtype: Any, size: int) -> bool:
  """Whether cuDNN's fused attention supports heads of this size.

  Args:
    capability: compute capability of an NVIDIA GPU, such as "9.0"; None for any
      other device.
    dtype: dtype of queries, keys and values.
    size: number of channels of a head, D.

  Returns:
    True for 16-bit heads of up to 128 channels on Ampere and 256 on Hopper.
  """
  version = re.fullmatch(r"(\d+)\.\d+", capability or "")
  if not version:
    return False
  major = int(version[1])
  largest = 0 if major < 8 else 128 if major < 9 else 256
  return jnp.dtype(dtype).itemsize == 2 and size <= largest and size % 8 == 0
