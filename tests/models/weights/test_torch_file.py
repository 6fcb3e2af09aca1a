"""PyTorch's files.

golden/torch_checkpoint.pt was made by PyTorch 2.13 with

  def state(scale):
    w = scale * torch.arange(54.0).reshape(3, 2, 3, 3)
    return {
      "module.conv.weight": w, "module.tied.weight": w,
      "module.conv.flipped": w.permute(3, 2, 1, 0),
      "module.part": w[1:, :, ::2, 1],
      "module.wide": torch.ones(1).expand(4, 2),
      "module.bfloat16": w[0, 0].bfloat16(), "module.half": w[0, 0].half(),
      "module.double": w[0, 0].double(),
      "module.parameter": torch.nn.Parameter(w[0, 0, 0]),
      "module.steps": torch.tensor(7), "module.none": torch.zeros(0, 3),
      "module.mask": torch.tensor([True, False]),
      "module.bytes": torch.tensor([1, 255], dtype=torch.uint8),
      "module.chars": torch.tensor([-1, 5], dtype=torch.int8),
      "module.shorts": torch.tensor([-1, 300], dtype=torch.int16),
      "module.ints": torch.tensor([-1, 70000], dtype=torch.int32),
    }
  torch.save({"epoch": 3, "args": argparse.Namespace(lr=1e-4),
              "model": state(1), "opt": adam.state_dict(),
              "ema": {"state_dict": state(2)}}, "torch_checkpoint.pt")

where `adam` has made one step with the parameters of a convolution.
"""

import hashlib
import os
import pickle
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.flax import save_file

from lowdiff_jax.models.weights import state_dict
from lowdiff_jax.types import UserError
from tests.command_line import REPOSITORY
from tests.models.weights.test_edm_pickle import Foreign

CHECKPOINT = REPOSITORY / "tests" / "golden" / "torch_checkpoint.pt"


def expected(scale):
  w = scale * np.arange(54, dtype=np.float32).reshape(3, 2, 3, 3)
  return {
    "conv.weight": w,
    "tied.weight": w,
    "conv.flipped": w.transpose(3, 2, 1, 0),
    "part": w[1:, :, ::2, 1],
    "wide": np.ones((4, 2), np.float32),
    "bfloat16": w[0, 0].astype(jnp.bfloat16),
    "half": w[0, 0].astype(np.float16),
    "double": w[0, 0].astype(np.float64),
    "parameter": w[0, 0, 0],
    "steps": np.array(7),
    "none": np.zeros((0, 3), np.float32),
    "mask": np.array([True, False]),
    "bytes": np.array([1, 255], np.uint8),
    "chars": np.array([-1, 5], np.int8),
    "shorts": np.array([-1, 300], np.int16),
    "ints": np.array([-1, 70000], np.int32),
  }


def rewritten(path, edit):
  """The checkpoint with every member as `edit` has it, or without it."""
  with zipfile.ZipFile(CHECKPOINT) as old, zipfile.ZipFile(path, "w") as new:
    for name in old.namelist():
      data = edit(name.partition("/")[2], old.read(name))
      if data is not None:
        new.writestr(name, data)
  return path


def instead(**members):
  """An edit that replaces members; underscores stand for dots."""
  changes = {name.replace("_", "."): data for name, data in members.items()}
  return lambda name, data: changes.get(name, data)


def check(state, wanted):
  assert state.keys() == wanted.keys()
  for name, array in wanted.items():
    assert state[name].dtype == array.dtype, name
    np.testing.assert_array_equal(state[name], array)


def test_the_averaged_network_of_a_checkpoint():
  check(state_dict.read_state(CHECKPOINT), expected(2))


def test_the_network_itself_where_none_is_averaged(tmp_path):
  def edit(name, data):
    return data.replace(b"ema", b"abc") if name == "data.pkl" else data

  path = rewritten(tmp_path / "a.pth", edit)
  check(state_dict.read_state(path), expected(1))


def test_the_order_of_bytes(tmp_path):
  path = rewritten(tmp_path / "a.ckpt", instead(byteorder=b"big"))
  swapped = {name: array.byteswap() for name, array in expected(2).items()}
  check(state_dict.read_state(path), swapped)
  path = rewritten(tmp_path / "b.ckpt", instead(byteorder=None))
  check(state_dict.read_state(path), expected(2))


@pytest.mark.parametrize(
  ("content", "said"),
  [
    ({"ema": Foreign(os.mkdir, "made")}, "it asks for posix.mkdir"),
    ({"ema": {}, "opt": Foreign(eval, "1 / 0")}, "it asks for builtins.eval"),
    ({"epoch": 3}, "it holds no state dict"),
    ([1, 2], "it holds no state dict"),
  ],
)
def test_foreign_content(content, said, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  edit = instead(data_pkl=pickle.dumps(content))
  path = rewritten(tmp_path / "a.pt", edit)
  with pytest.raises(UserError, match=f"is not loaded: {said}"):
    state_dict.read_state(path)
  assert not (tmp_path / "made").exists()


def test_damaged_files(tmp_path):
  def short(name, data):
    return data[:-8] if name.startswith("data/") else data

  def empty(name, data):
    return None if name.startswith("data/") else data

  path = tmp_path / "a.pt"
  for edit, said in (
    (short, "a tensor reaches beyond its storage"),
    (empty, "no item named"),
    (instead(data_pkl=None), "torch.save did not write it"),
    (instead(data_pkl=b"?"), ""),
  ):
    with pytest.raises(UserError, match=f"is not loaded: .*{said}"):
      state_dict.read_state(rewritten(path, edit))
  for data in (b"", pickle.dumps({}), CHECKPOINT.read_bytes()[:5000]):
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"PyTorch 1\.6 or newer did not"):
      state_dict.read_state(path)
  with pytest.raises(UserError, match="No such file"):
    state_dict.read_state(tmp_path / "gone.pt")


def test_a_flipped_bit_shows(tmp_path):
  with zipfile.ZipFile(CHECKPOINT) as file:
    weight = expected(2)["conv.weight"].tobytes()
    assert any(file.read(name) == weight for name in file.namelist())
  data = CHECKPOINT.read_bytes()
  at = data.index(weight) + 5
  path = tmp_path / "a.pt"
  path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
  with pytest.raises(UserError, match="Bad CRC-32"):
    state_dict.read_state(path)


def test_bfloat16_in_safetensors(tmp_path):
  array = jnp.arange(6, dtype=jnp.bfloat16).reshape(2, 3)
  save_file({"a": array}, tmp_path / "a.safetensors")
  check(state_dict.read_state(tmp_path / "a.safetensors"), {"a": array})


def test_the_hash_of_weights(tmp_path):
  file = tmp_path / "a.pt"
  file.write_bytes(b"abc")
  assert state_dict.file_hash(file) == (  # FIPS 180-2, appendix B.1
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
  )
  (tmp_path / "x_encoder.safetensors").write_bytes(b"a")
  (tmp_path / "x_decoder.safetensors").write_bytes(b"bc")
  assert state_dict.file_hash(tmp_path) == hashlib.sha256(b"abc").hexdigest()
  with pytest.raises(UserError, match=r"gone\.pt cannot be read"):
    state_dict.file_hash(tmp_path / "gone.pt")
