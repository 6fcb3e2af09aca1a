"""Pickles of EDM: tensors are read, and nothing is run."""

import os
import pickle

import numpy as np
import pytest

from lowdiff_jax.models.weights import (
  edm_layout,
  pickled,
  state_dict,
)
from lowdiff_jax.types import UserError
from tests.models.weights.test_edm_layout import DDPMPP, GOLDEN

PICKLE = GOLDEN / "edm_style.pkl"


def test_a_pickle_gives_its_tensors_and_runs_nothing():
  """Part of DDPM++ as torch pickles it; its module source would abort us."""
  state, expected = state_dict.read_state(PICKLE), state_dict.read_state(DDPMPP)
  names = [name for name in state if not name.endswith("resample_filter")]
  assert len(names) > 20
  for name in names:
    np.testing.assert_array_equal(state[name], expected[name])
  assert b"os.abort()" in PICKLE.read_bytes()
  params = edm_layout.unet_params(state)
  assert params["enc_8x8_block0"]["attention"]["qkv"]["kernel"].ndim == 4
  assert "resample_filter" not in params["enc_8x8_block0"]["skip"]


class Foreign:
  """Pickles as a call of any function."""

  def __init__(self, function, *arguments):
    self.call = function, arguments

  def __reduce__(self):
    return self.call


@pytest.mark.parametrize(
  ("content", "said"),
  [
    ({"ema": Foreign(os.mkdir, "made")}, "it asks for posix.mkdir"),
    ({"ema": Foreign(eval, "1 / 0")}, "it asks for builtins.eval"),
    ({"ema": 3}, "is not loaded"),
    ([1, 2], "is not loaded"),
  ],
)
def test_foreign_code_in_a_pickle(content, said, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  path = tmp_path / "a.pkl"
  path.write_bytes(pickle.dumps(content))
  with pytest.raises(UserError, match=said):
    state_dict.read_state(path)
  assert not (tmp_path / "made").exists()


def test_a_damaged_pickle(tmp_path):
  path = tmp_path / "a.pkl"
  path.write_bytes(PICKLE.read_bytes()[:50_000])
  with pytest.raises(UserError, match="is not loaded"):
    state_dict.read_state(path)
  with pytest.raises(UserError, match="is not loaded"):
    state_dict.read_state(tmp_path / "gone.pkl")


def test_a_tensor_stays_within_its_storage():
  storage = np.arange(6, dtype=np.float32)
  tensor = pickled.tensor(storage, 1, (2, 2), (2, 1))
  assert tensor.tolist() == [[1, 2], [3, 4]]
  for offset, size, stride in ((3, (2, 2), (2, 1)), (0, (2,), (-1,))):
    with pytest.raises(pickle.UnpicklingError, match="beyond its storage"):
      pickled.tensor(storage, offset, size, stride)
