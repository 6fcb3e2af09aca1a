"""Parity: does our network compute what the published one computed?

A file of the golden format (.npz) holds `config`, a JSON text of the published
constructor's arguments; `params/<published name>`; inputs `in/<name>` and
outputs `out/<name>`, NCHW. A port is right when it loads the parameters by
their published names and reproduces every output.
"""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lowdiff_jax.diffusion import noise, precondition, pyramid, sampler
from lowdiff_jax.evaluate import verify_dit
from lowdiff_jax.interfaces import Condition, UserError
from lowdiff_jax.models import denoiser as unified
from lowdiff_jax.models import pretrained, unet

# Largest error over largest value; an integration adds up its steps' errors.
TOLERANCE, SAMPLER_TOLERANCE = 1e-4, 1e-3
_SAMPLERS = ("heun", "euler")


def edm_unet(config: Mapping[str, Any]) -> unet.UNet:
  """The U-Net of EDM's SongUNet arguments."""
  return unet.UNet(
    resolution=config["img_resolution"],
    out_channels=config["img_channels"],
    model_channels=config["model_channels"],
    channel_mult=tuple(config["channel_mult"]),
    num_blocks=config["num_blocks"],
    attn_resolutions=tuple(config["attn_resolutions"]),
    dropout=config["dropout"],
    num_classes=config["label_dim"],
    augment_dim=config["augment_dim"],
    embedding=config["embedding_type"],
    noise_mult=config["channel_mult_noise"],
    encoder=config["encoder_type"],
    taps=tuple(config["resample_filter"]),
  )


def _edm(config, state, inputs):
  """Output name -> what our U-Net makes of the inputs."""
  backbone = edm_unet(config)
  side = config["img_resolution"]
  denoiser = unified.UnifiedDenoiser(
    backbone,
    (side,),
    lambda sigma, _: precondition.edm(sigma, sigma_data=0.5),
    pyramid.upsample,
  )
  shapes = jax.eval_shape(
    lambda: unified.init_params(denoiser, jax.random.key(0), 3)
  )
  params = pretrained.exactly(
    shapes, {"backbone": pretrained.unet_params(state)}
  )
  label = inputs.get("labels")
  label = None if label is None else jnp.argmax(label, axis=1)
  augment = inputs.get("augment_labels")
  cond = Condition(label=label, augment=augment)
  x, noisy, sigma = (inputs[name] for name in ("x", "noisy", "sigma"))
  denoise = unified.bind(denoiser, params)

  def raw():
    c_noise = jnp.log(sigma) / 4
    variables = {"params": params["backbone"]}
    return backbone.apply(variables, x, c_noise, label, augment=augment)

  def heun18():
    sigmas = noise.karras_sigmas(18, 0.002, 80.0)
    keys = noise.image_keys(0, np.arange(len(x)))
    image, _ = sampler.heun(
      denoise, keys, 80 * x, sigmas, cond._replace(augment=None)
    )
    return image

  return {
    "raw": raw,
    "denoised": lambda: denoise(noisy, sigma, cond),
    "heun18": heun18,
  }


# What tells a network's config -> (config, state, inputs) -> output functions.
_NETWORKS: dict[str, Callable[..., dict[str, Callable]]] = {
  "embedding_type": _edm,
  "use_swiglu": verify_dit.outputs,
}


def errors(path: Path) -> dict[str, float]:
  """Output name -> largest absolute error over largest absolute value.

  Args:
    path: of a file in the golden format.

  Returns:
    One error for each output in the file.

  Raises:
    UserError: the file is not of the format, of an unknown network, or its
      parameters are not those of the network it describes.
  """
  state = pretrained.read_state(path)
  with np.load(path, allow_pickle=False) as file:
    if "config" not in file.files:
      raise UserError(f"{path} has no config, so it is no golden file")
    config = json.loads(str(file["config"]))
    inputs = _named(file, "in/")
    outputs = _named(file, "out/")
  makers = [make for key, make in _NETWORKS.items() if key in config]
  if not makers:
    raise UserError(f"{path}: no known network has these arguments: {config}")
  compute = makers[0](config, state, inputs)
  result = {}
  for name, expected in outputs.items():
    if name not in compute:
      raise UserError(f"{path}: this network has no output {name!r}")
    ours = np.asarray(jax.jit(compute[name])())
    result[name] = float(np.abs(ours - expected).max() / np.abs(expected).max())
  return result


def run(arguments: list[str]) -> int:
  """The command `verify FILE ...`: a line for each output; 1 if one is off."""
  if len(arguments) < 2 or arguments[0] != "verify":
    print("error: expected: verify FILE.npz ...", file=sys.stderr)
    return 2
  fine = True
  for file in arguments[1:]:
    try:
      found = errors(Path(file))
    except UserError as error:
      print(f"error: {error}", file=sys.stderr)
      return 2
    for name, value in found.items():
      sampled = name.startswith(_SAMPLERS)
      tolerance = SAMPLER_TOLERANCE if sampled else TOLERANCE
      good = value <= tolerance
      fine = fine and good
      word = "ok" if good else "OFF"
      print(
        f"{word:4}{file} {name}: error {value:.2e}, tolerance {tolerance:g}"
      )
  return 0 if fine else 1


def _named(file, prefix):
  """Arrays whose name begins so, images as NHWC."""
  arrays = {}
  for name in file.files:
    if name.startswith(prefix):
      array = file[name]
      array = array.transpose(0, 2, 3, 1) if array.ndim == 4 else array
      arrays[name.removeprefix(prefix)] = array
  return arrays
