"""Pickles that are small and would fill the memory, or never end."""

import io
import pickle
import struct

import numpy as np
import pytest

from lowdiff_jax.models.weights import pickled, state_dict
from lowdiff_jax.models.weights.pickle_scan import scan
from lowdiff_jax.types import UserError
from tests.command_line import REPOSITORY

# A tuple of twice a tuple of twice a tuple ... of 60 levels.
DOUBLED = b"K\1" + b"2\x86" * 60
SIZE = b"ctorch\nSize\n"


@pytest.mark.parametrize(
  ("content", "said"),
  [
    (b"\x80\4}" + DOUBLED + b"K\1s.", "too many parts"),  # A dict's key.
    (b"\x80\4(" + DOUBLED + b"\x91.", "too many parts"),  # In a frozenset.
    (b"\x80\4K\1r" + struct.pack("<I", 2**31) + b".", "more places"),
    (b"\x80\4K\1p2000000000\n.", "more places"),
    (b"\x80\4" + b"]" * 5 + b"a" * 9 + b".", "pop from empty list"),
    (b"\x80\4h\x07.", "it lacks 7"),
  ],
)
def test_refused_before_it_is_unpickled(content, said, tmp_path):
  path = tmp_path / "a.pkl"
  path.write_bytes(content)
  with pytest.raises(UserError, match=rf"a\.pkl is not loaded: .*({said})"):
    state_dict.read_state(path)


def test_tuples_by_way_of_lists_are_counted():
  """tuple([x, x]) of tuple([x, x]) ..., as torch.Size would make them."""
  content = b"\x80\4K\1q\0"
  for i in range(40):
    content += SIZE + b"](h" + bytes([i]) + b"h" + bytes([i]) + b"e\x85R"
    content += b"q" + bytes([i + 1])
  with pytest.raises(pickle.UnpicklingError, match="too many parts"):
    scan(io.BytesIO(content + b"."))


@pytest.mark.parametrize("protocol", range(6))
def test_common_pickles_pass(protocol):
  shared = [1, 2, ("a", None)]
  value = {"a": (shared, shared), 3: {4, 5}, "b": np.arange(9), "c": b"x" * 99}
  file = io.BytesIO(b"before" + pickle.dumps(value, protocol))
  file.seek(6)
  scan(file)
  assert file.tell() == 6


def test_published_files_pass():
  golden = REPOSITORY / "tests" / "golden"
  for name in ("edm_style.pkl", "torch_checkpoint.pt"):
    assert state_dict.read_state(golden / name)


def test_a_tensor_that_repeats_its_storage():
  storage = np.arange(4, dtype=np.float32)
  many = pickled.tensor(storage, 1, (1000, 2), (0, 1))
  np.testing.assert_array_equal(many, np.tile([1.0, 2.0], (1000, 1)))
  with pytest.raises(pickle.UnpicklingError, match="repeats its storage"):
    pickled.tensor(storage, 0, (2**40,), (0,))
