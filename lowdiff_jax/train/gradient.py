"""The gradient of a batch: part after part, on all devices."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from lowdiff_jax.distributed import AXES, ROWS
from lowdiff_jax.train.step import GradientFn
from lowdiff_jax.types import Array, Batch, Metrics

Draw = Callable[[Array, Batch], Any]
LossFn = Callable[[Any, Array, Any], tuple[Array, Metrics]]


def make_gradient(
  draw: Draw,
  loss_fn: LossFn,
  mesh: Mesh,
  param_specs: Any,
  *,
  microbatches: int = 1,
) -> GradientFn:
  """Builds the gradient of the mean loss of a batch.

  Each device computes the gradient of its own examples, in `microbatches` parts
  one after the other, and adds the parts in float32. Sharded parameters are
  gathered once, before the first part, and gradients are summed over the
  devices once, after the last. `draw` sees the whole batch: what it draws
  depends neither on the devices nor on the parts.

  Args:
    draw: (key, batch) -> examples, a tree of arrays whose leading axes divide
      by microbatches x devices.
    loss_fn: (params, key, examples) -> (mean loss, metrics that are means);
      all parts have the key that `draw` has.
    mesh: of the devices.
    param_specs: how the parameters are sharded: `PartitionSpec`s.
    microbatches: number of parts.

  Returns:
    (params, key, batch) -> (gradient, sharded as the parameters, metrics).
  """

  def on_device(params: Any, key: Array, examples: Any) -> tuple[Any, Metrics]:
    params = jax.tree.map(_gather, params, param_specs)
    parts = jax.tree.map(
      lambda x: x.reshape(microbatches, -1, *x.shape[1:]), examples
    )

    total = _sum_over_parts(
      lambda part: jax.grad(loss_fn, has_aux=True)(params, key, part), parts
    )
    count = microbatches * mesh.size
    grads, metrics = jax.tree.map(lambda x: x / count, total)
    grads = jax.tree.map(_reduce, grads, param_specs)
    return grads, jax.lax.psum(metrics, AXES)

  mapped: Callable[..., Any] = jax.shard_map(
    on_device,
    mesh=mesh,
    in_specs=(param_specs, P(), ROWS),
    out_specs=(param_specs, P()),
    check_vma=False,
  )

  def gradient(params: Any, key: Array, batch: Batch) -> tuple[Any, Metrics]:
    return mapped(params, key, draw(key, batch))

  return gradient


def _sum_over_parts(function: Callable[[Any], Any], parts: Any) -> Any:
  """The sum of function(part) in float32; `parts` has them along axis 0."""

  def add(total: Any, part: Any) -> tuple[Any, None]:
    return jax.tree.map(jnp.add, total, function(part)), None

  first = jax.tree.map(lambda x: x[0], parts)
  if len(jax.tree.leaves(parts)[0]) == 1:
    # XLA for CPUs is slow at the gradients of convolutions inside loops.
    return jax.tree.map(lambda x: x.astype(jnp.float32), function(first))
  shapes = jax.eval_shape(function, first)
  zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.float32), shapes)
  return jax.lax.scan(add, zeros, parts)[0]


def _gather(x: Array, spec: P) -> Array:
  """The whole array from its parts along `fsdp`."""
  if "fsdp" not in spec:
    return x
  return jax.lax.all_gather(x, "fsdp", axis=spec.index("fsdp"), tiled=True)


def _reduce(x: Array, spec: P) -> Array:
  """The sum over all devices, of which each keeps its part along `fsdp`."""
  if "fsdp" not in spec:
    return jax.lax.psum(x, AXES)
  axis = spec.index("fsdp")
  part = jax.lax.psum_scatter(x, "fsdp", scatter_dimension=axis, tiled=True)
  return jax.lax.psum(part, "data")
