"""The published networks, weight for weight."""

import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from lowdiff_jax.diffusion import precondition
from lowdiff_jax.experiment.parts import build_experiment
from lowdiff_jax.metrics.inception_weights import inception_params
from lowdiff_jax.models import unified
from lowdiff_jax.models.weights import (
  edm_layout,
  lightningdit_layout,
  state_dict,
)
from lowdiff_jax.parity import verify
from lowdiff_jax.types import Condition, ImageSpec, UserError
from tests import tiny
from tests.command_line import REPOSITORY

GOLDEN = REPOSITORY / "tests" / "golden"
DDPMPP, NCSNPP = GOLDEN / "edm_ddpmpp.npz", GOLDEN / "edm_ncsnpp.npz"
LIGHTNINGDIT = GOLDEN / "lightningdit.npz"


@pytest.mark.parametrize(
  "path", [DDPMPP, NCSNPP, LIGHTNINGDIT], ids=lambda path: path.stem
)
def test_outputs_are_those_of_the_published_network(path, capsys):
  assert verify.run(["verify", str(path)]) == 0
  lines = capsys.readouterr().out.splitlines()
  outputs = [n for n in np.load(path).files if n.startswith("out/")]
  assert len(lines) == len(outputs) >= 2
  assert all(line.startswith("ok ") for line in lines)


def rewrite(path, source=DDPMPP, **changes):
  """A golden file with some arrays changed, or None to drop them."""
  with np.load(source) as file:
    arrays = {**{name: file[name] for name in file.files}, **changes}
  np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
  return path


CONV = "params/model.enc.16x16_block0.conv0.weight"


def test_a_wrong_weight_shows(tmp_path, capsys):
  conv = np.load(DDPMPP)[CONV]
  path = rewrite(tmp_path / "a.npz", **{CONV: conv * 1.01, "out/heun18": None})
  assert verify.run(["verify", str(path)]) == 1
  assert "OFF" in capsys.readouterr().out


@pytest.mark.parametrize(
  ("changes", "said"),
  [
    ({CONV: np.zeros((3, 3, 3, 3))}, "in the file and"),
    ({CONV: None}, "the file lacks (part of) the parameter"),
    ({"params/model.enc.9x9_extra.weight": np.zeros(3)}, "has no parameter"),
    ({"config": None}, "has no config"),
    ({"config": json.dumps({"depth": 3})}, "no known network"),
    ({"out/heun19": np.zeros(3)}, "has no output 'heun19'"),
  ],
)
def test_wrong_files_are_named(changes, said, tmp_path, capsys):
  path = rewrite(tmp_path / "a.npz", **changes)
  assert verify.run(["verify", str(path)]) == 2
  error = capsys.readouterr().err
  assert said in error and error.count("\n") == 1


def test_unreadable_files(tmp_path):
  for name in ("a.npz", "a.safetensors"):
    with pytest.raises(UserError, match="cannot be read"):
      state_dict.read_state(tmp_path / name)
    (tmp_path / name).write_bytes(b"?")
    with pytest.raises(UserError, match="cannot be read"):
      state_dict.read_state(tmp_path / name)
  with pytest.raises(UserError, match=r"expected \.safetensors"):
    state_dict.read_state(tmp_path / "a.bin")
  np.savez(tmp_path / "pickled.npz", a=np.array([{}], dtype=object))
  with pytest.raises(UserError, match="cannot be read"):
    state_dict.read_state(tmp_path / "pickled.npz")


def test_safetensors_and_npz_are_the_same(tmp_path):
  state = state_dict.read_state(DDPMPP)
  save_file(state, tmp_path / "a.safetensors")
  again = state_dict.read_state(tmp_path / "a.safetensors")
  assert state.keys() == again.keys()
  for name, array in state.items():
    np.testing.assert_array_equal(array, again[name])


@pytest.mark.parametrize("path", [DDPMPP, NCSNPP], ids=lambda path: path.stem)
def test_the_published_layout_and_back(path):
  """All of the file's arrays but its buffers, which are constants here."""
  state = {
    name.removeprefix("model."): array
    for name, array in state_dict.read_state(path).items()
    if not name.endswith("resample_filter")
  }
  back = edm_layout.published_state(edm_layout.unet_params(state))
  assert back.keys() == state.keys()
  for name, array in state.items():
    np.testing.assert_array_equal(back[name], array)


VP = {"embedding_type": "positional", "channel_mult_noise": 1}
VP |= {"encoder_type": "standard", "resample_filter": [1, 1]}
VE = {"embedding_type": "fourier", "channel_mult_noise": 2}
VE |= {"encoder_type": "residual", "resample_filter": [1, 3, 3, 1]}
CIFAR = {"img_resolution": 32, "channel_mult": [2, 2, 2]}
FFHQ = {"img_resolution": 64, "channel_mult": [1, 2, 2, 2]}


@pytest.mark.parametrize(
  ("kind", "data", "classes", "count"),
  [
    (VP, CIFAR, 0, 55_733_891),
    (VP, CIFAR, 10, 55_735_299),
    (VE, CIFAR, 0, 56_397_827),
    (VP, FFHQ, 0, 61_805_571),
    (VE, FFHQ, 0, 62_761_091),
  ],
)
def test_full_size_parameter_counts(kind, data, classes, count):
  network = verify.edm_unet(
    {
      "img_channels": 3,
      "model_channels": 128,
      "num_blocks": 4,
      "attn_resolutions": [16],
      "dropout": 0.13,
      "label_dim": classes,
      "augment_dim": 9,
      **kind,
      **data,
    }
  )
  side = data["img_resolution"]
  shapes = jax.eval_shape(
    network.init,
    jax.random.key(0),
    jnp.zeros((1, side, side, 3)),
    jnp.zeros(1),
    jnp.zeros(1, jnp.int32),
  )
  assert state_dict.count(shapes["params"]) == count


GOLDEN_FIELDS = {
  "model.channels": 16,
  "model.channel_mult": (1, 2),
  "model.num_blocks": 2,
  "model.attn_resolutions": (8,),
}


def test_a_new_run_starts_from_published_weights():
  """At the top resolution it is the published denoiser, condition or not."""
  spec = ImageSpec(16, 3, 10)
  config = tiny.config(
    resolutions=(8, 16),
    **GOLDEN_FIELDS,
    **{f"stages.{stage}.sigma_data": 0.5 for stage in ("s8", "s16")},
    **{"model.init_from": str(DDPMPP)},
  )
  experiment = build_experiment(config, spec, devices=jax.devices()[:1])
  state = experiment.init()
  chex.assert_trees_all_equal(state.params, state.ema_params)
  golden = np.load(DDPMPP)
  x = golden["in/noisy"].transpose(0, 2, 3, 1)
  cond = Condition(
    label=golden["in/labels"].argmax(1),
    low_res=np.ones((3, 8, 8, 3), np.float32),
    low_res_sigma=np.full(3, 0.1, np.float32),
  )
  args = (x, golden["in/sigma"], cond)
  ours = jax.jit(lambda params: experiment.bind(params)(*args))(state.params)
  published = verify.edm_unet(json.loads(str(golden["config"])))
  denoiser = unified.UnifiedDenoiser(
    published, (16,), lambda s, _: precondition.edm(s, sigma_data=0.5)
  )
  params = {"backbone": edm_layout.unet_params(state_dict.read_state(DDPMPP))}
  theirs = jax.jit(lambda params: unified.bind(denoiser, params)(*args))(params)
  np.testing.assert_allclose(ours, theirs, atol=1e-5)
  wrong = tiny.config(**{"model.init_from": str(DDPMPP)})
  with pytest.raises(UserError, match="this network has no parameter"):
    build_experiment(wrong, tiny.SPEC).init()


@pytest.mark.parametrize("name", ["", "a", "model.", "part", "encoder.a"])
def test_names_that_are_not_of_the_network(name):
  state = {name: np.zeros(3)}
  if "." not in name.removeprefix("model."):
    with pytest.raises(UserError, match="U-Net has no parameter"):
      edm_layout.unet_params(state)
  with pytest.raises(UserError, match="it lacks"):
    inception_params(state)


def test_convolutions_of_other_shapes():
  leaves = ("weight", "bias", "running_mean", "running_var")
  state = {f"a.bn.{leaf}": np.ones(2) for leaf in leaves}
  for shape in ((2, 3), (3, 3, 1, 1), ()):
    with pytest.raises(UserError, match="arrays of a are not those of a conv"):
      inception_params({**state, "a.conv.weight": np.ones(shape)})


def test_blocks_without_end():
  name = "blocks.9999.attn.qkv.weight"
  with pytest.raises(UserError, match=r"lacks the parameter blocks\.0"):
    lightningdit_layout.dit_params({name: np.ones((2, 2))}, 2)
  huge = {f"blocks.{'9' * 5000}.a": np.ones(2), "pos_embed": np.ones(())}
  with pytest.raises(UserError, match="pos_embed"):
    lightningdit_layout.dit_params(huge, 2)
