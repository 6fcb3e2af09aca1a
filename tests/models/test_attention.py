"""Attention and its own backward pass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lowdiff_jax.models.attention import attention

SHAPE = (2, 9, 3, 4)


def heads(dtype=jnp.float32):
  """Queries, keys, values and a gradient of the result."""
  keys = jax.random.split(jax.random.key(0), 4)
  return [3 * jax.random.normal(key, SHAPE, dtype) for key in keys]


def written_out(query, key, value):
  scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) / np.sqrt(SHAPE[-1])
  return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), value)


@pytest.mark.parametrize(
  ("dtype", "tolerance"), [(jnp.float32, 1e-5), (jnp.bfloat16, 0.05)]
)
def test_values_and_gradients_are_those_of_the_formula(dtype, tolerance):
  *qkv, grad = heads(dtype)
  out, back = jax.vjp(attention, *qkv)
  exact, exact_back = jax.vjp(
    written_out, *(x.astype(jnp.float32) for x in qkv)
  )
  exact_grads = exact_back(grad.astype(jnp.float32))
  pairs = zip((out, *back(grad)), (exact, *exact_grads), strict=True)
  for ours, theirs in pairs:
    assert ours.dtype == dtype
    error = jnp.abs(ours.astype(jnp.float32) - theirs).max()
    assert error < tolerance * jnp.abs(theirs).max()


def test_large_scores_do_not_overflow():
  *qkv, grad = (30 * x for x in heads())
  out, back = jax.vjp(attention, *qkv)
  for x in (out, *back(grad)):
    assert jnp.isfinite(x).all()


def test_the_backward_pass_keeps_nothing_of_the_size_of_the_scores():
  *qkv, _ = heads()
  kept = jax.tree.leaves(
    jax.eval_shape(lambda *x: jax.vjp(attention, *x), *qkv)
  )
  assert kept
  assert max(x.size for x in kept) == np.prod(SHAPE)
  assert np.prod(SHAPE) < SHAPE[0] * SHAPE[2] * SHAPE[1] ** 2
