"""Tiny networks for the laws of the unified denoiser."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from lowdiff_jax.diffusion import precondition
from lowdiff_jax.models import dit, unet, unified
from lowdiff_jax.types import NO_LABEL, Condition

NCSNPP = {
  "embedding": "fourier",
  "noise_mult": 2,
  "encoder": "residual",
  "taps": (1, 3, 3, 1),
}
UNET = functools.partial(
  unet.UNet,
  resolution=8,
  model_channels=8,
  channel_mult=(1, 2),
  num_blocks=1,
  attn_resolutions=(4,),
  dropout=0.0,
)
DIT = functools.partial(
  dit.LightningDiT, input_size=8, hidden_size=16, depth=2, num_heads=2
)
KINDS = {
  "matching": functools.partial(UNET, entry="matching_level"),
  "top": functools.partial(UNET, entry="top_level"),
  "ncsnpp": functools.partial(UNET, **NCSNPP),
  "dit": DIT,
}


def make(resolutions, kind="matching", *, residual=(), shared=True, **fields):
  backbone = KINDS[kind](
    out_channels=2,
    num_classes=3,
    condition_channels=2 if len(resolutions) > 1 else 0,
    **fields,
  )

  def edm(sigma, resolution):
    return precondition.edm(
      sigma, sigma_data={2: 0.4, 4: 0.5, 8: 0.6}[resolution]
    )

  return unified.UnifiedDenoiser(backbone, resolutions, edm, residual, shared)


@functools.cache
def init(resolutions, kind="matching", **fields):
  return jax.jit(unified.init_params, static_argnums=(0, 2))(
    make(resolutions, kind, **fields), jax.random.key(0), 2
  )


def randomised(params):
  """What training would leave: no parameter at its initial value."""
  leaves, tree = jax.tree.flatten(params)
  rng = np.random.default_rng(0)
  leaves = [x + 0.1 * rng.standard_normal(x.shape, np.float32) for x in leaves]
  return jax.tree.unflatten(tree, leaves)


def inputs(side, low_res=True):
  rng = np.random.default_rng(side)
  noisy = jnp.asarray(rng.standard_normal((3, side, side, 2)), jnp.float32)
  low = jnp.asarray(rng.standard_normal((3, side // 2, side // 2, 2)))
  cond = Condition(label=jnp.array([0, 2, NO_LABEL]))
  if low_res:
    cond = cond._replace(low_res=low, low_res_sigma=jnp.full(3, 0.1))
  return noisy, jnp.array([0.1, 1.0, 10.0]), cond


def operations(jaxpr):
  """All equations, those of inner functions included."""
  for eqn in jaxpr.eqns:
    yield eqn
    for inner in eqn.params.values():
      inner = getattr(inner, "jaxpr", inner)
      if hasattr(inner, "eqns"):
        yield from operations(inner)
