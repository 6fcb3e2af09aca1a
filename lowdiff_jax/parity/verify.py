"""Parity: does our network compute what the published one computed?

  python -m lowdiff_jax.parity verify FILE.npz ... [--weights=PATH]

A file of the golden format (.npz) holds `config`, a JSON text of the published
constructor's arguments; `params/<published name>`; inputs `in/<name>` and
outputs `out/<name>`, NCHW but for pictures in uint8. A file whose config says
where its `weights` are published has no params: they are read from a path given
with it. A port is right when it loads the parameters by their published names
and reproduces every output.
"""

import functools
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lowdiff_jax.diffusion import noise, precondition, sampler
from lowdiff_jax.models import unet, unified
from lowdiff_jax.models.autoencoders import kl, taef2
from lowdiff_jax.models.weights import edm_layout, state_dict
from lowdiff_jax.models.weights.autoencoder_layouts import (
  autoencoder_params,
  taef2_params,
)
from lowdiff_jax.parity import verify_dit, verify_inception
from lowdiff_jax.types import Array, Condition, UserError

# Largest error over largest value; an integration adds up its steps' errors.
TOLERANCE, SAMPLER_TOLERANCE = 1e-4, 1e-3
# Output name -> a function that computes it.
Outputs = dict[str, Callable[[], Array]]
_SAMPLERS = ("heun", "euler")
# What a config may say of a TAEF2 that is not of the published size.
_TAEF2_SIZES = ("width", "latent_channels")


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


def _edm(
  config: Mapping[str, Any],
  state: Mapping[str, np.ndarray],
  inputs: Mapping[str, Any],
) -> Outputs:
  """Output name -> what our U-Net makes of the inputs."""
  backbone = edm_unet(config)
  side = config["img_resolution"]
  denoiser = unified.UnifiedDenoiser(
    backbone,
    (side,),
    lambda sigma, _: precondition.edm(sigma, sigma_data=0.5),
  )
  shapes = jax.eval_shape(
    lambda: unified.init_params(denoiser, jax.random.key(0), 3)
  )
  params = state_dict.exactly(
    shapes, {"backbone": edm_layout.unet_params(state)}
  )
  label = inputs.get("labels")
  label = None if label is None else jnp.argmax(label, axis=1)
  augment = inputs.get("augment_labels")
  cond = Condition(label=label, augment=augment)
  x, noisy, sigma = (inputs[name] for name in ("x", "noisy", "sigma"))
  denoise = unified.bind(denoiser, params)

  def raw() -> Any:
    c_noise = jnp.log(sigma) / 4
    variables = {"params": params["backbone"]}
    return backbone.apply(variables, x, c_noise, label, augment=augment)

  def heun18() -> Array:
    sigmas = noise.karras_sigmas(18, 0.002, 80.0)
    keys = noise.image_keys(0, np.arange(len(x)))
    image, _ = sampler.Heun()(
      denoise, keys, 80 * x, sigmas, cond._replace(augment=None)
    )
    return image

  return {
    "raw": raw,
    "denoised": lambda: denoise(noisy, sigma, cond),
    "heun18": heun18,
  }


def ldm_autoencoder(config: Mapping[str, Any]) -> kl.KLAutoencoder:
  """The autoencoder of latent diffusion's arguments."""
  return kl.KLAutoencoder(
    resolution=config["resolution"],
    channels=config["ch"],
    channel_mult=tuple(config["ch_mult"]),
    num_blocks=config["num_res_blocks"],
    attn_resolutions=tuple(config["attn_resolutions"]),
    latent_channels=config["z_channels"],
  )


def _ldm_autoencoder(
  config: Mapping[str, Any],
  state: Mapping[str, np.ndarray],
  inputs: Mapping[str, np.ndarray],
) -> Outputs:
  """Output name -> what our autoencoder makes of the inputs."""
  module = ldm_autoencoder(config)
  encode, decode = _coder(module, autoencoder_params(state), inputs["image"])
  return {
    "mean": lambda: encode(inputs["image"])[0],
    "logvar": lambda: encode(inputs["image"])[1],
    "decoded": lambda: decode(inputs["latent"]),
  }


def _taef2(
  config: Mapping[str, Any],
  state: Mapping[str, np.ndarray],
  inputs: Mapping[str, np.ndarray],
) -> Outputs:
  """Output name -> what our TAEF2 makes of an image in [0, 1]."""
  image = 2 * inputs["image"] - 1
  sizes = {name: config[name] for name in config if name in _TAEF2_SIZES}
  module = taef2.TAEF2(**sizes)
  encode, decode = _coder(module, taef2_params(state), image)
  return {
    "latent": lambda: encode(image)[0],
    "decoded": lambda: (decode(encode(image)[0]) + 1) / 2,
  }


def _coder(
  module: Any, loaded: dict[str, Any], image: Any
) -> Iterator[Callable[[Any], Any]]:
  """An autoencoder's two functions, with the loaded parameters."""
  shapes = jax.eval_shape(module.init, jax.random.key(0), image)["params"]
  params = state_dict.exactly(shapes, loaded)

  def apply(method: str, x: Any) -> Any:
    # The barrier keeps XLA from computing all of it while it compiles.
    variables = {"params": jax.lax.optimization_barrier(params)}
    return module.apply(variables, x, method=method)

  return (functools.partial(apply, name) for name in ("encode", "decode"))


# What tells a network's config, an argument's name or value, ->
# (config, state, inputs) -> output functions.
_NETWORKS: dict[str, Callable[..., dict[str, Callable]]] = {
  "embedding_type": _edm,
  "use_swiglu": verify_dit.outputs,
  "z_channels": _ldm_autoencoder,
  "taef2": _taef2,
  "inception_fid": verify_inception.outputs,
  "inception_trunk": verify_inception.outputs,
}


def errors(path: Path, weights: Path | None = None) -> dict[str, float]:
  """Output name -> largest absolute error over largest absolute value.

  Args:
    path: of a file in the golden format.
    weights: where the parameters are if not in the file.

  Returns:
    One error for each output in the file.

  Raises:
    UserError: the file is not of the format, of an unknown network, or its
      parameters are not those of the network it describes.
  """
  state = state_dict.read_state(weights or path)
  with np.load(path, allow_pickle=False) as file:
    if "config" not in file.files:
      raise UserError(f"{path} has no config, so it is no golden file")
    config = json.loads(str(file["config"]))
    inputs = _named(file, "in/")
    outputs = _named(file, "out/")
  if "weights" in config and weights is None:
    raise UserError(
      f"{path} is without its parameters, {config['weights']}: "
      "say where they are with --weights=PATH"
    )
  marks = [*config, *config.values()]
  makers = [make for mark, make in _NETWORKS.items() if mark in marks]
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
  flag = "--weights="
  paths = [a.removeprefix(flag) for a in arguments if a.startswith(flag)]
  command, *files = [a for a in arguments if not a.startswith(flag)] or [""]
  if command != "verify" or not files or len(paths) > 1:
    expected = f"verify FILE.npz ... [{flag}PATH]"
    print(f"error: expected: {expected}", file=sys.stderr)
    return 2
  weights = Path(paths[0]) if paths else None
  fine = True
  for file in files:
    try:
      found = errors(Path(file), weights)
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


def _named(file: Any, prefix: str) -> dict[str, np.ndarray]:
  """Arrays whose name begins so, images as NHWC."""
  arrays = {}
  for name in file.files:
    if name.startswith(prefix):
      array = file[name]
      if array.ndim == 4 and array.dtype != np.uint8:
        array = array.transpose(0, 2, 3, 1)
      arrays[name.removeprefix(prefix)] = array
  return arrays
