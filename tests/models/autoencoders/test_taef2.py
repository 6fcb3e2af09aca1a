"""TAEF2.

golden/taef2_small.npz is a TAEF2 of 8 channels and 4 latent channels with
random weights, run by PyTorch: `nn.Sequential`s of the published layers'
positions and names, which with the published weights give the published
outputs. The published weights are not in this repository.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from lowdiff_jax.models.autoencoders import taef2
from lowdiff_jax.models.weights import state_dict
from lowdiff_jax.models.weights.autoencoder_layouts import taef2_params
from lowdiff_jax.parity import verify
from lowdiff_jax.types import UserError
from tests.command_line import REPOSITORY

GOLDEN = REPOSITORY / "tests" / "golden" / "taef2_small.npz"
SMALL = taef2.TAEF2(width=8, latent_channels=4)


def shapes(module):
  image = jnp.zeros((1, 16, 16, 3))
  return jax.eval_shape(module.init, jax.random.key(0), image)["params"]


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
  """The golden file without its weights, and these as they are published."""
  folder = tmp_path_factory.mktemp("taef2")
  state = state_dict.read_state(GOLDEN)
  for part in ("encoder", "decoder"):
    arrays = {
      name.removeprefix(f"{part}."): array
      for name, array in state.items()
      if name.startswith(part)
    }
    save_file(arrays, folder / f"taef2_{part}.safetensors")
  with np.load(GOLDEN) as file:
    config = {**json.loads(str(file["config"])), "weights": "published/there"}
    rest = {n: file[n] for n in file.files if n.startswith(("in/", "out/"))}
  np.savez(folder / "golden.npz", config=json.dumps(config), **rest)
  return folder / "golden.npz", folder


def test_outputs_are_those_of_the_published_network(apart, capsys):
  golden, folder = apart
  for arguments in ([str(GOLDEN)], [str(golden), f"--weights={folder}"]):
    assert verify.run(["verify", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all(line.startswith("ok ") for line in lines)


def test_a_golden_file_asks_for_its_weights(apart, capsys):
  assert verify.run(["verify", str(apart[0])]) == 2
  error = capsys.readouterr().err
  assert "published/there" in error and "--weights=PATH" in error
  assert error.count("\n") == 1


def test_two_weights_are_one_too_many(capsys):
  two = ["--weights=a", "--weights=b"]
  for arguments in ([str(GOLDEN), *two], two[:1], []):
    assert verify.run(["verify", *arguments]) == 2
    assert "expected: verify FILE.npz" in capsys.readouterr().err


def test_the_default_is_of_the_published_size():
  params = shapes(taef2.TAEF2())
  assert state_dict.count(params["encoder"]) == 1_338_528
  assert state_dict.count(params["decoder"]) == 1_338_499


def test_sizes_of_latents_and_images():
  params = shapes(SMALL)
  for sides in ((8, 8), (128, 64)):
    image = jnp.zeros((2, *sides, 3))
    latent, logvar = jax.eval_shape(
      lambda p, x: SMALL.apply({"params": p}, x, method="encode"), params, image
    )
    small = tuple(side // SMALL.factor for side in sides)
    assert latent.shape == (2, *small, SMALL.latent_channels)
    assert logvar is None
    decoded = jax.eval_shape(
      lambda p, x: SMALL.apply({"params": p}, x, method="decode"),
      params,
      latent,
    )
    assert decoded.shape == image.shape


def test_images_are_within_their_range_in_bfloat16_too():
  params = taef2_params(state_dict.read_state(GOLDEN))
  latent = 10 * jax.random.normal(jax.random.key(0), (2, 2, 2, 4))
  images = [
    jax.jit(lambda p, z, m=module: m.apply({"params": p}, z, method="decode"))(
      params, latent
    )
    for module in (SMALL, SMALL.clone(dtype=jnp.bfloat16))
  ]
  for image in images:
    assert image.dtype == jnp.float32
    assert image.min() == -1 and image.max() <= 1
  assert 0 < jnp.abs(images[0] - images[1]).mean() < 0.05


@pytest.mark.parametrize(
  ("changes", "said"),
  [
    ({"encoder.12.pool.1.weight": None}, "encoder/layer_12/pool_1/scale"),
    ({"decoder.7.weight": None}, "lacks .* decoder/layer_7/kernel"),
    ({"decoder.7.bias": np.zeros(8)}, "has no parameter decoder/layer_7/bias"),
  ],
)
def test_wrong_weights_are_named(changes, said):
  state = {**state_dict.read_state(GOLDEN), **changes}
  state = {name: array for name, array in state.items() if array is not None}
  with pytest.raises(UserError, match=said):
    state_dict.exactly(shapes(SMALL), taef2_params(state))


def test_a_folder_has_one_encoder_and_one_decoder(apart, tmp_path):
  with pytest.raises(UserError, match=r"encoder\.safetensors; it holds 0"):
    state_dict.read_state(tmp_path)
  for name in ("encoder", "a_decoder", "b_decoder"):
    (tmp_path / f"{name}.safetensors").write_bytes(b"")
  for read in (state_dict.read_state, state_dict.file_hash):
    with pytest.raises(UserError, match=r"decoder\.safetensors; it holds 2"):
      read(tmp_path)
