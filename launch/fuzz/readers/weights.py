"""Files of published weights, through the layouts of the networks."""

import functools
import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save

from launch.fuzz.archives import npy, odd_json, odd_npy, write_zip
from launch.fuzz.damage import damage_file, damaged
from launch.fuzz.reader import Reader
from lowdiff_jax.experiment.defaults import pixels, smoke
from lowdiff_jax.experiment.initial_params import initial_params
from lowdiff_jax.experiment.parts import build_experiment
from lowdiff_jax.metrics.inception_weights import inception_params
from lowdiff_jax.models import position
from lowdiff_jax.models.weights import state_dict
from lowdiff_jax.models.weights.autoencoder_layouts import (
  autoencoder_params,
  taef2_params,
)
from lowdiff_jax.models.weights.lightningdit_layout import dit_params
from lowdiff_jax.types import ImageSpec

GOLDEN = Path(__file__).parents[3] / "tests" / "golden"
# Side of the grid of tokens.
_GRID = 2

_NAMES = (
  *("", ".", "..", "a", "a.b", "map_x", "model.", "x\ny\x1b", "a." * 3000),
  *("blocks.99999.attn.qkv.weight", "blocks.9999999999999.a.weight"),
  *("encoder", "encoder.a", "conv/weights", "mixed_1_conv/weights"),
)


class Network(NamedTuple):
  """A network whose weights can be read.

  Attributes:
    state: published name -> array, small.
    load: the path of such a file -> parameters, checked.
  """

  state: dict[str, np.ndarray]
  load: Callable[[Path], Any]


def _small(name: str) -> dict[str, np.ndarray]:
  """The names of a golden file, with arrays of at most 2 along each axis."""
  with np.load(GOLDEN / name) as file:
    return {
      key.removeprefix("params/"): file[key][(slice(2),) * file[key].ndim]
      for key in file.files
      if key.startswith("params/") and file[key].dtype != np.int64
    }


def _checked(
  state: dict[str, np.ndarray],
  translate: Callable[[Mapping[str, np.ndarray]], dict[str, Any]],
) -> Network:
  shapes = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), translate(state)
  )
  return Network(
    state,
    lambda path: state_dict.exactly(
      shapes, translate(state_dict.read_state(path))
    ),
  )


def _inception() -> Network:
  state = {"fc.weight": np.ones((2, 2), "f4"), "fc.bias": np.ones(2, "f4")}
  for name in ("Conv2d_1a_3x3", "Mixed_5b.branch1x1"):
    state[f"{name}.conv.weight"] = np.ones((2, 3, 1, 1), "f4")
    for leaf in ("weight", "bias", "running_mean", "running_var"):
      state[f"{name}.bn.{leaf}"] = np.ones(2, "f4")
  return _checked(state, inception_params)


def _unet() -> Network:
  """The U-Net of a tiny run, as `config.model.init_from` reads it."""
  config = pixels((4, 8))
  config.model.channel_mult = (1, 2)
  smoke(config)
  experiment = build_experiment(
    config, ImageSpec(8, 3, 0), devices=jax.devices()[:1]
  )
  fresh = jax.tree.map(
    lambda x: jnp.zeros(x.shape, x.dtype), experiment.state_shapes.params
  )
  state = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(fresh["backbone"]):
    first, *modules = [str(key.key) for key in path]
    if first != "mapping":
      modules = [*first.split("_", 1), *modules]
    modules = [name for name in modules if name != "attention"]
    array = np.asarray(leaf)
    if modules[-1] in ("kernel", "scale"):
      modules[-1] = "weight"
      array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
    state[".".join(modules)] = array

  def load(path: Path) -> Any:
    own = config.copy_and_resolve_references()
    own.model.init_from = str(path)
    return initial_params(own, fresh)

  return Network(state, load)


@functools.cache
def networks() -> dict[str, Network]:
  """The networks by name."""
  dit = _small("lightningdit.npz")
  for name in list(dit):
    if "rope" in name or name == "pos_embed":
      del dit[name]
  table = position.sincos_table(np.arange(_GRID), 4)
  dit["pos_embed"] = table[None]
  return {
    "unet": _unet(),
    "dit": _checked(dit, lambda state: dit_params(state, _GRID)),
    "kl": _checked(_small("ldm_autoencoder.npz"), autoencoder_params),
    "taef2": _checked(_small("taef2_small.npz"), taef2_params),
    "inception": _inception(),
  }


def _odd_state(
  rng: random.Random, state: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """The state with an array of another name, type or shape, or without it."""
  state = dict(state)
  for _ in range(rng.choice((0, 0, 1, 1, 3))):
    name = rng.choice(list(state))
    array = state.pop(name)
    kind = rng.randrange(6)
    if kind == 0:
      continue
    if kind == 1:
      name = rng.choice((*_NAMES, f"{name}.x", f"model.{name}", name[:-3]))
    elif kind == 2:
      array = array.astype(rng.choice(("f2", "f8", "i8", "u1", "?", "i2")))
    elif kind == 3:
      array = array.reshape(rng.choice(((-1,), (1, -1), (-1, 1, 1, 1))))
    elif kind == 4:
      array = rng.choice((array[None], array[..., :0], array.ravel()[:1].sum()))
    else:
      array = np.full_like(array, np.nan)
    state[name] = np.ascontiguousarray(array)
  return state


class _Weights(Reader):
  """A file of weights of one of the networks."""

  suffix: ClassVar[str]

  def __init__(self, seeds: Path) -> None:
    super().__init__(seeds)
    self._networks = networks()
    self._others = [seeds / name for name in self._networks]
    for path in self._others:
      path.write_bytes(self.encode(None, self._networks[path.name].state))

  def encode(
    self, rng: random.Random | None, state: Mapping[str, np.ndarray]
  ) -> bytes:
    """The file of a state; an odd one if there is a random generator."""
    raise NotImplementedError

  def make(self, rng: random.Random, folder: Path) -> tuple[str, Path]:
    """The name of a network and a file."""
    name = rng.choice(list(self._networks))
    state = _odd_state(rng, self._networks[name].state)
    path = folder / f"weights{self.suffix}"
    path.write_bytes(self.encode(rng, state))
    if rng.random() < 0.5:
      damage_file(rng, path, self._others)
    return name, path

  def read(self, candidate: tuple[str, Path]) -> None:
    """Reads the file and places its arrays."""
    name, path = candidate
    for leaf in jax.tree.leaves(self._networks[name].load(path)):
      assert leaf.dtype == np.float32


class Safetensors(_Weights):
  """A .safetensors file."""

  name = "weights.safetensors"
  suffix = ".safetensors"

  def encode(
    self, rng: random.Random | None, state: Mapping[str, np.ndarray]
  ) -> bytes:
    """See `_Weights`; the header may be odd."""
    data = save(dict(state))
    if rng is None or rng.random() < 0.5:
      return data
    size = int.from_bytes(data[:8], "little")
    header, content = json.loads(data[8 : 8 + size]), data[8 + size :]
    entry = rng.choice(list(header.values()))
    kind = rng.randrange(7)
    if kind == 0:
      entry["dtype"] = rng.choice(("BF16", "F8_E4M3", "F64", "U64", "X", 3))
    elif kind == 1:
      begin, end = entry["data_offsets"]
      wrong = ([end, begin], [begin, end + 4], [0, 4], [0, 0], [-1, 4])
      entry["data_offsets"] = rng.choice(wrong)
    elif kind == 2:
      entry["shape"] = rng.choice(([0], [2**32, 2**32], [-1], [1] * 80, None))
    elif kind == 3:
      header = odd_json(rng, header)
    elif kind == 4:
      header["__metadata__"] = rng.choice(({"a": "b"}, {"a": 1}, None, []))
    elif kind == 5:
      header["empty"] = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    text = json.dumps(header).encode()
    if kind == 6:
      text = rng.choice((damaged(rng, text), b"[" * 50_000, text + b" " * 9999))
    return len(text).to_bytes(8, "little") + text + content


class Npz(_Weights):
  """An .npz file."""

  name = "weights.npz"
  suffix = ".npz"

  def encode(
    self, rng: random.Random | None, state: Mapping[str, np.ndarray]
  ) -> bytes:
    """See `_Weights`; one array may be odd."""
    members = {
      f"params/{name}.npy": npy(array) for name, array in state.items()
    }
    if rng is not None and rng.random() < 0.5 and members:
      name = rng.choice(list(members))
      array = state[name.removeprefix("params/").removesuffix(".npy")]
      members[name] = odd_npy(rng, array)
    path = self.seeds / "file.npz"
    write_zip(rng or random.Random(1), path, members)
    return path.read_bytes()


READERS: tuple[type[Reader], ...] = (Safetensors, Npz)
