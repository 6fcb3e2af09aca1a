"""Parity of LightningDiT and of its sampler; see `verify.py`."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lowdiff_jax.diffusion import (
  noise,
  precondition,
  sampler,
)
from lowdiff_jax.diffusion.guidance import Guidance
from lowdiff_jax.models import dit, unified
from lowdiff_jax.models.weights import lightningdit_layout, state_dict
from lowdiff_jax.types import NO_LABEL, Array, Condition, UserError


def lightningdit(config: Mapping[str, Any]) -> dit.LightningDiT:
  """The transformer of LightningDiT's arguments.

  Raises:
    UserError: a variant that none of its published weights is.
  """
  for name in ("use_swiglu", "use_rope", "use_rmsnorm"):
    if not config[name]:
      raise UserError(f"only LightningDiTs with {name} are known")
  return dit.LightningDiT(
    out_channels=config["in_channels"],
    hidden_size=config["hidden_size"],
    depth=config["depth"],
    num_heads=config["num_heads"],
    input_size=config["input_size"] // config["patch_size"],
    patch_size=config["patch_size"],
    mlp_ratio=config["mlp_ratio"],
    num_classes=config["num_classes"],
    qk_norm=config["use_qknorm"],
  )


def outputs(
  config: Mapping[str, Any],
  state: Mapping[str, np.ndarray],
  inputs: Mapping[str, np.ndarray],
) -> dict[str, Callable[[], Array]]:
  """Output name -> what our transformer and our samplers make of the inputs.

  The fixed positions are taken from the state dict, for in a golden file they
  are as random as the weights.
  """
  state = dict(state)
  if "pos_embed" not in state:
    raise UserError("the file lacks the parameter pos_embed")
  table = state.pop("pos_embed")[0]
  backbone = lightningdit(config).clone(position_table=lambda *_: table)
  loaded = lightningdit_layout.dit_params(state, backbone.input_size)
  denoiser = unified.UnifiedDenoiser(
    backbone,
    (config["input_size"],),
    lambda sigma, _: precondition.flow(sigma),
  )
  shapes = jax.eval_shape(
    lambda: unified.init_params(
      denoiser, jax.random.key(0), config["in_channels"]
    )
  )
  params = state_dict.exactly(shapes, {"backbone": loaded})
  null, grid = config["num_classes"], config["sampler"]
  y, label = (
    jnp.where(inputs[name] == null, NO_LABEL, inputs[name])
    for name in ("y", "label")
  )

  def velocity() -> Any:
    variables = {"params": params["backbone"]}
    return backbone.apply(variables, inputs["x"], inputs["t"], y)

  def euler(scale: float = 1.0, channels: int | None = None) -> Array:
    sigmas = noise.flow_sigmas(grid["points"] - 1, 1e5, 1 / grid["shift"])
    guidance = Guidance(scale, (0.0, 1 / grid["cfg_start"] - 1), channels)
    denoise = guidance(unified.bind(denoiser, params))
    noisy = sigmas[0] * inputs["noise"]
    keys = noise.image_keys(0, np.arange(len(noisy)))
    return sampler.Euler()(denoise, keys, noisy, sigmas, Condition(label))[0]

  return {
    "velocity": velocity,
    "euler": euler,
    "euler_cfg": lambda: euler(grid["cfg_scale"]),
    "euler_cfg_first3": lambda: euler(grid["cfg_scale"], channels=3),
  }
