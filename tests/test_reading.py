"""Files that are damaged or hostile: one line, whatever reads them raises."""

import io
import json
import zipfile
import zlib

import numpy as np
import pytest

from lowdiff_jax.experiment import identity, model_folder, run_folder
from lowdiff_jax.experiment.latent_sets import read_statistics
from lowdiff_jax.models.weights import state_dict
from lowdiff_jax.models.weights.tree import place
from lowdiff_jax.reading import read_json, read_npz, reading
from lowdiff_jax.train.checkpoint import Checkpoints
from lowdiff_jax.train.state import TrainState
from lowdiff_jax.types import UserError
from tests import tiny


@pytest.mark.parametrize(
  ("error", "said"),
  [
    (zlib.error("Error -3"), "Error -3"),
    (MemoryError(), "it needs more memory than there is"),
    (RecursionError("maximum"), "it is nested too deeply"),
    (KeyError("mean"), "it lacks mean"),
    (PermissionError(13, "Permission denied"), "Permission denied"),
    (RuntimeError("one\ntwo"), "one"),
    (EOFError(), "EOFError"),
  ],
)
def test_any_error_names_the_file_and_the_way_out(error, said, tmp_path):
  with pytest.raises(UserError) as caught, reading(tmp_path, "fetch it again"):
    raise error
  assert str(caught.value) == (
    f"{tmp_path} cannot be read ({said}); fetch it again"
  )


def test_a_refusal_passes_as_it_is(tmp_path):
  with pytest.raises(UserError, match=r"^no mean$"), reading(tmp_path):
    raise UserError("no mean")


def test_a_message_is_one_short_line():
  assert str(UserError("a\nb\x1b[31m\u2028ä\ud800")) == (
    r"a\nb\x1b[31m\u2028ä\ud800"
  )
  text = str(UserError(f"begin {'x' * 10_000} end"))
  assert len(text) < 1300
  assert text.startswith("begin x") and text.endswith("x end")


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "1" * 5000])
def test_json_that_is_damaged(text, tmp_path):
  path = tmp_path / "a.json"
  path.write_text(text)
  with pytest.raises(UserError, match=r"a\.json cannot be read .*; fetch"):
    read_json(path, "fetch it")
  with pytest.raises(UserError, match=r"a\.json cannot be read"):
    identity.read_file(path)


def write_npz(path, data, method=zipfile.ZIP_STORED):
  with zipfile.ZipFile(path, "w", method) as archive:
    archive.writestr("a.npy", data)


def encrypted(data):
  """The zip, whose headers say that it is encrypted."""
  for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
    at = data.index(magic) + offset
    data = data[:at] + bytes([data[at] | 1]) + data[at + 1 :]
  return data


def npy(array):
  file = io.BytesIO()
  np.save(file, array)
  return file.getvalue()


def stored(data):
  """A zip with these bytes as the array "a"."""
  file = io.BytesIO()
  write_npz(file, data)
  return file.getvalue()


def test_arrays_that_cannot_be_read(tmp_path):
  path = tmp_path / "a.npz"
  for array, said in (
    (np.array([{}], object), "allow_pickle=False"),
    (np.zeros(3), None),
  ):
    write_npz(path, npy(array))
    if said is None:
      assert read_npz(path)["a"].shape == (3,)
      continue
    with pytest.raises(UserError, match=said):
      read_npz(path)
  whole = path.read_bytes()
  for data, said in (
    (whole.replace(b"(3,)", b"(9,)"), "cannot be read"),
    (encrypted(whole), "is encrypted"),
    (whole[:-5], "cannot be read"),
    (npy(np.zeros(3)), r"it is no \.npz"),
    (stored(b"not an array"), "a in it is no array"),
    (b"", "No data left"),
  ):
    path.write_bytes(data)
    with pytest.raises(UserError, match=said):
      read_npz(path)


def test_a_file_that_would_fill_the_memory(tmp_path):
  path = tmp_path / "a.npz"
  write_npz(path, npy(np.zeros(3)))
  data = bytearray(path.read_bytes())
  at = data.index(b"PK\x01\x02") + 24  # Its size once it is unpacked.
  data[at : at + 4] = (1100 << 20).to_bytes(4, "little")
  path.write_bytes(data)
  with pytest.raises(UserError, match="would unpack to 1100 MiB, more than"):
    read_npz(path)


@pytest.mark.parametrize(
  ("mean", "std", "said"),
  [
    (np.zeros(4), np.ones(3), "expected 4 numbers each"),
    (np.zeros(4), np.zeros(4), "std above 0"),
    (np.full(4, np.nan), np.ones(4), "must be finite"),
    (np.array(["a"] * 4), np.ones(4), "expected an array of numbers"),
    (np.zeros(4), None, "has no mean and std"),
  ],
)
def test_statistics_of_latents(mean, std, said, tmp_path):
  path = tmp_path / "a.npz"
  arrays = {"mean": mean} | ({} if std is None else {"std": std})
  np.savez(path, **arrays)
  config = tiny.config("smoke", "imagenet256")
  config.latents.statistics = str(path)
  with pytest.raises(UserError, match=f"latents.statistics: .*{said}"):
    read_statistics(config, 4)


def test_weights_must_be_numbers(tmp_path):
  for array in (np.array(["a"]), np.zeros(2, "<M8[s]"), np.zeros(2, complex)):
    np.savez(tmp_path / "a.npz", x=array)
    with pytest.raises(UserError, match=r"x is .*expected an array of numbers"):
      state_dict.read_state(tmp_path / "a.npz")


def test_names_that_contradict_one_another():
  params = {}
  place(params, ["a", "b"], np.zeros(2))
  for path, said in (
    (["a", "b", "c"], "a/b/c as a module and an array"),
    (["a"], "a as a module and an array"),
    (["a"] * 100, "nested too deeply"),
  ):
    with pytest.raises(UserError, match=said):
      place(params, path, np.zeros(2))


@pytest.mark.parametrize(
  ("change", "said"),
  [
    (lambda record: [1], "expected sections"),
    (lambda record: {**record, "stages": {}}, "its stages are none"),
    (
      lambda record: {**record, "stages": {"s²": {"a": 1}}},
      "its stages are s²",
    ),
    (lambda record: {**record, "stages": {"s99999": {"a": 1}}}, "s99999"),
    (lambda record: {**record, "a.b": 1}, "no config"),
    (lambda record: {**record, "items": {"a": 1}}, "no config|no such field"),
    (lambda record: {"stages": {"resolutions": 3}}, "expected a tuple"),
    (lambda record: {**record, "seed": {"a": 1}}, "no such field"),
    (lambda record: {**record, "seed": [None]}, r"seed = \(None,\): expected"),
  ],
)
def test_configs_that_are_none(change, said, tmp_path):
  record = identity.to_json(tiny.config())
  path = tmp_path / "config.json"
  path.write_text(json.dumps(change(record)))
  with pytest.raises(UserError, match=rf"config\.json: .*({said})"):
    identity.read_file(path)


@pytest.mark.parametrize(
  ("record", "said"),
  [
    ([], "cannot be read"),
    ({"format": 1}, "it lacks step"),
    ({"format": 1, "step": "a"}, "step is 'a'"),
    ({"format": 2}, "is of format 2"),
  ],
)
def test_exported_models_of_no_use(record, said, tmp_path):
  (tmp_path / "config.json").write_text(json.dumps(record))
  with pytest.raises(UserError, match=rf"config\.json .*{said}"):
    model_folder.read_config(tmp_path)


def test_a_spec_that_is_none():
  for spec in ({}, {"resolution": 8}, {"resolution": 8, "channels": 0}):
    with pytest.raises((ValueError, TypeError)):
      identity.read_spec({"spec": {"num_classes": -1, **spec}})
  found, latents = identity.read_spec({"spec": tiny.SPEC._asdict()})
  assert found == tiny.SPEC and latents is None


def test_checkpoints_whose_json_is_damaged(tmp_path):
  leaf = np.zeros(2, np.float32)
  state = TrainState(
    step=np.int32(7),
    images_seen=np.uint32(56),
    params={"a": leaf},
    ema_params={"a": leaf},
    opt_state=(),
  )
  folder = tmp_path / "checkpoints"
  checkpoints = Checkpoints(folder)
  checkpoints.save(state, {"config": identity.to_json(tiny.config())})
  checkpoints.close()
  assert run_folder.read_config(tmp_path) is not None
  for content in ("[", "[1]"):
    (folder / "7" / "manifest.json").write_text(content)
    with pytest.raises(UserError, match=r"/7 .*, and no other .*: delete "):
      run_folder.read_config(tmp_path)
  odd = '{"performance_metrics": 1e308}'
  (folder / "7" / "_CHECKPOINT_METADATA").write_text(odd)
  with pytest.raises(
    UserError, match=r"/7 is damaged, and no other .*: delete "
  ):
    Checkpoints(folder)
