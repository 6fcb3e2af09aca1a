"""The Inception of FID: parity, laws of its input path, wrong files."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from lowdiff_jax import distributed
from lowdiff_jax.metrics import compute, inception_weights
from lowdiff_jax.metrics.inception import InceptionV3, resize
from lowdiff_jax.metrics.inception_weights import load_inception
from lowdiff_jax.models.weights import state_dict
from lowdiff_jax.parity import verify
from lowdiff_jax.types import UserError
from tests.command_line import REPOSITORY
from tests.inception import published_state, tensorflow_state, write_trunk

GOLDEN = REPOSITORY / "tests" / "golden"


def test_outputs_are_those_of_the_published_network(capsys):
  assert verify.run(["verify", str(GOLDEN / "inception_fid.npz")]) == 0
  lines = capsys.readouterr().out.splitlines()
  assert [line.split()[2] for line in lines] == [
    "pool64:",
    "pool192:",
    "pool768:",
    "pool2048:",
    "logits_unbiased:",
  ]
  assert all(line.startswith("ok ") for line in lines)


def test_the_trunk_s_weights_have_to_be_given(capsys):
  assert verify.run(["verify", str(GOLDEN / "inception_trunk.npz")]) == 2
  assert "--weights=PATH" in capsys.readouterr().err


def test_a_wrong_resize_would_show():
  """Half a pixel is what most implementations are off by."""
  image = np.load(GOLDEN / "inception_fid.npz")["in/images"]
  ours = np.asarray(resize(image, 299))
  shape = (len(image), 299, 299, 3)
  theirs = jax.image.resize(jnp.asarray(image, jnp.float32), shape, "linear")
  assert np.abs(ours - theirs).max() > 20


@pytest.mark.parametrize("side", [8, 32, 64, 299, 400])
def test_resize_is_bilinear_without_half_a_pixel(side):
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (1, side, side, 1), np.uint8)
  ours = np.asarray(resize(image, 299))[0, :, :, 0]
  pixels = image[0, :, :, 0].astype(np.float64)
  for i, j in rng.integers(0, 299, (50, 2)):
    y, x = i * side / 299, j * side / 299
    expected = 0
    for a, dy in ((int(y), 1 - y % 1), (int(y) + 1, y % 1)):
      for b, dx in ((int(x), 1 - x % 1), (int(x) + 1, x % 1)):
        expected += dy * dx * pixels[min(a, side - 1), min(b, side - 1)]
    np.testing.assert_allclose(ours[i, j], expected, atol=0.01)
  if side == 299:
    np.testing.assert_array_equal(ours, pixels)


@pytest.fixture(scope="module")
def trunk(tmp_path_factory):
  return write_trunk(tmp_path_factory.mktemp("inception") / "trunk.safetensors")


def test_features_depend_on_no_batch_and_no_device(trunk):
  images = np.random.default_rng(0).integers(0, 256, (11, 32, 32, 3), np.uint8)
  inception = load_inception(trunk, 91)
  found = [
    compute.inception_extract(
      inception, size, distributed.make_mesh(devices=jax.devices()[:devices])
    )(images)
    for size, devices in ((11, 1), (3, 1), (8, 8))
  ]
  for other in found[1:]:
    for name, value in found[0].items():
      np.testing.assert_allclose(value, other[name], rtol=1e-4, atol=1e-5)


def test_a_smaller_side_says_so_in_every_name(trunk):
  images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
  mesh = distributed.make_mesh(devices=jax.devices()[:1])
  whole, small = load_inception(trunk), load_inception(trunk, 91)
  assert small.suffix() == "_768_at_91" and whole.suffix() == "_768"
  features = compute.inception_extract(small, 3, mesh)(images)
  assert {n: x.shape for n, x in features.items()} == {"pool768": (3, 768)}
  protocols = [compute.inception_protocol(i) for i in (whole, small)]
  assert protocols[1] == {**protocols[0], "side": 91}


def test_grey_images_are_taken_as_colour(trunk):
  images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 1), np.uint8)
  mesh = distributed.make_mesh(devices=jax.devices()[:1])
  extract = compute.inception_extract(load_inception(trunk), 2, mesh)
  grey, colour = extract(images), extract(images.repeat(3, axis=-1))
  for name, value in grey.items():
    np.testing.assert_array_equal(value, colour[name])


def test_tensorflow_s_names_are_the_same_network(trunk, tmp_path):
  """Folded, HWIO and up to mixed_7."""
  path = tmp_path / "tensorflow.safetensors"
  state = tensorflow_state(published_state())
  save_file(state, path)
  ours, theirs = load_inception(trunk), load_inception(path)
  assert ours.pool == theirs.pool == "pool768"
  leaves = jax.tree_util.tree_leaves_with_path(ours.params)
  others = dict(jax.tree_util.tree_leaves_with_path(theirs.params))
  assert len(leaves) == len(others) == 140
  for name, leaf in leaves:
    np.testing.assert_allclose(leaf, others[name], rtol=1e-5, atol=1e-6)
  state["mixed_8_tower_conv/weights"] = state["conv/weights"]
  state["mixed_8_tower_conv/bias"] = state["conv/bias"]
  save_file(state, path)
  with pytest.raises(UserError, match="no layer mixed_8_tower_conv"):
    load_inception(path)


def test_what_a_whole_file_gives(tmp_path):
  path = tmp_path / "inception.npz"
  np.savez(path, **published_state(whole=True))
  inception = load_inception(path)
  assert inception.pool == "pool2048"
  assert inception.module == InceptionV3(
    ("spatial", "pool2048", "logits_unbiased")
  )
  assert inception.params["fc"]["kernel"].shape == (2048, 1008)
  assert inception.sha256 == state_dict.file_hash(path)


@pytest.mark.parametrize(
  ("change", "said"),
  [
    (("Mixed_6e.branch_pool.bn.bias", None), "lacks Mixed_6e.branch_pool.bn"),
    (("Conv2d_1a_3x3.conv.weight", (32, 3, 5, 5)), "in the file and"),
    (("AuxLogits.conv0.conv.weight", (1,)), "lacks AuxLogits.conv0.bn"),
  ],
)
def test_other_networks_are_named(change, said, tmp_path):
  name, shape = change
  state = published_state()
  state[name] = None if shape is None else np.zeros(shape, np.float32)
  path = tmp_path / "other.safetensors"
  save_file({k: v for k, v in state.items() if v is not None}, path)
  with pytest.raises(UserError, match="is not the Inception of FID") as error:
    load_inception(path)
  assert str(path) in str(error.value) and said in str(error.value)


@pytest.mark.parametrize("name", [inception_weights.PUBLISHED, "a.pt"])
def test_a_file_of_pytorch_s_must_be_the_published_one(name, tmp_path):
  path = tmp_path / name
  shutil.copy(GOLDEN / "torch_checkpoint.pt", path)
  with pytest.raises(
    UserError, match=r"its sha256 is .* that of .* is 6726825d"
  ):
    load_inception(path)
  with pytest.raises(UserError, match="cannot be read"):
    load_inception(tmp_path / "gone.pth")
