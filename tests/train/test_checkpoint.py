"""Checkpoints: exact, checked, and of one architecture."""

import json

import chex
import jax
import numpy as np
import optax
import pytest

from lowdiff_jax.train.checkpoint import Checkpoints
from lowdiff_jax.train.manifest import MANIFEST
from lowdiff_jax.train.state import create
from lowdiff_jax.types import UserError
from tests import tiny


@pytest.fixture(scope="module")
def experiment():
  return tiny.experiment()


@pytest.fixture(scope="module")
def state(experiment):
  return experiment.init()._replace(step=np.asarray(7, np.int32))


@pytest.fixture
def folder(tmp_path, state):
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(state, {"spec": tiny.SPEC._asdict()})
  checkpoints.close()
  return tmp_path


def test_restores_every_bit_and_the_shardings(folder, experiment, state):
  checkpoints = Checkpoints(folder)
  restored = checkpoints.restore(experiment.state_shapes)
  assert type(restored) is type(state)
  chex.assert_trees_all_equal(restored, state)
  for leaf, target in zip(
    jax.tree.leaves(restored),
    jax.tree.leaves(experiment.state_shapes),
    strict=True,
  ):
    assert leaf.sharding.is_equivalent_to(target.sharding, leaf.ndim)
  ema = checkpoints.restore_ema(experiment.state_shapes.ema_params)
  chex.assert_trees_all_equal(ema, state.ema_params)
  assert checkpoints.meta()["spec"] == tiny.SPEC._asdict()
  checkpoints.close()


def test_restores_onto_another_mesh(folder, state):
  other = tiny.experiment(**{"mesh.fsdp": 4})
  checkpoints = Checkpoints(folder)
  chex.assert_trees_all_equal(checkpoints.restore(other.state_shapes), state)
  checkpoints.close()


def test_another_architecture_is_named(folder):
  wider = tiny.experiment(**{"model.channels": 16})
  checkpoints = Checkpoints(folder, create=False)
  with pytest.raises(UserError, match="of another architecture: backbone/"):
    checkpoints.restore(wider.state_shapes)
  baseline = tiny.experiment("smoke,baseline")
  with pytest.raises(UserError, match="here; use the config"):
    checkpoints.restore_ema(baseline.state_shapes.ema_params)
  checkpoints.close()


def test_a_flipped_bit_is_found(folder, experiment):
  files = [p for p in (folder / "7").rglob("*") if p.is_file()]
  largest = max(files, key=lambda path: path.stat().st_size)
  data = bytearray(largest.read_bytes())
  data[len(data) // 2] ^= 1
  largest.write_bytes(data)
  checkpoints = Checkpoints(folder)
  with pytest.raises(UserError, match=f"{largest.name} is damaged; delete"):
    checkpoints.restore(experiment.state_shapes)
  checkpoints.close()


def test_no_checkpoint(tmp_path, folder):
  with pytest.raises(UserError, match="train first, or set --workdir"):
    Checkpoints(tmp_path / "nothing", create=False)
  checkpoints = Checkpoints(folder, create=False)
  with pytest.raises(UserError, match=r"no checkpoint of step 3 .* only of 7"):
    checkpoints.existing_step(3)
  checkpoints.close()


def test_keeps_the_newest_with_their_manifests(tmp_path, state):
  checkpoints = Checkpoints(tmp_path, keep=2)
  for step in (1, 2, 3):
    checkpoints.save(state._replace(step=np.asarray(step)), {})
  checkpoints.close()
  assert sorted(p.name for p in tmp_path.iterdir()) == ["2", "3"]
  for step in ("2", "3"):
    assert (tmp_path / step / MANIFEST).exists()


def test_a_manifest_that_a_kill_left_unfinished(folder, experiment, state):
  path = folder / "7" / MANIFEST
  partial = path.with_name("manifest.json.partial")
  whole = path.read_bytes()
  path.rename(partial)
  Checkpoints(folder).close()
  assert path.read_bytes() == whole and not partial.exists()
  # Earlier versions summed it too.
  path.write_text(json.dumps({**json.loads(whole), partial.name: "0"}))
  checkpoints = Checkpoints(folder, create=False)
  restored = checkpoints.restore(experiment.state_shapes)
  chex.assert_trees_all_equal(restored, state)
  checkpoints.close()


def files_of(folder):
  return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_who_reads_writes_nothing(folder, experiment, state):
  (folder / "7" / MANIFEST).unlink()
  before = files_of(folder)
  checkpoints = Checkpoints(folder, create=False)
  shapes = experiment.state_shapes.ema_params
  ema = checkpoints.restore_ema(shapes)
  chex.assert_trees_all_equal(ema, state.ema_params)
  digest = checkpoints.sha256(7)
  checkpoints.add_manifests()
  checkpoints.close()
  assert files_of(folder) == before
  # The next training adds the manifest.
  checkpoints = Checkpoints(folder)
  checkpoints.add_manifests()
  assert (folder / "7" / MANIFEST).exists()
  assert checkpoints.sha256(7) == digest
  checkpoints.close()


def add(folder, step, keep):
  """Saves a small checkpoint, as a training does that keeps so many."""
  small = create({"w": np.full(2, step)}, optax.identity())
  checkpoints = Checkpoints(folder, keep=keep)
  checkpoints.save(small._replace(step=np.asarray(step)), {})
  checkpoints.close()


@pytest.mark.parametrize(
  ("wanted", "removals", "said"),
  [
    (None, 2, None),
    (None, 3, "no checkpoint of step 3 in .*, only of 4"),
    (1, 1, "no checkpoint of step 1 in .*, only of 2"),
  ],
)
def test_training_removes_what_is_being_read(wanted, removals, said, tmp_path):
  def read(step):
    checkpoints.meta(step)
    if step <= removals:
      add(tmp_path, step + 1, keep=1)
    return checkpoints.restore_ema({"w": np.zeros(2, int)}, step)["w"]

  add(tmp_path, 1, keep=1)
  checkpoints = Checkpoints(tmp_path, create=False)
  if said is None:
    assert checkpoints.read(wanted, read).tolist() == [removals + 1] * 2
  else:
    with pytest.raises(UserError, match=f"^{said}$"):
      checkpoints.read(wanted, read)
  checkpoints.close()


def test_what_is_half_removed_is_not_to_be_deleted(tmp_path):
  add(tmp_path, 1, keep=2)
  add(tmp_path, 2, keep=2)
  (tmp_path / "1" / "ema" / "manifest.ocdbt").unlink()
  checkpoints = Checkpoints(tmp_path, create=False)
  said = "training may have removed it; newer are 2$"
  with pytest.raises(UserError, match=rf"manifest.ocdbt is damaged; {said}"):
    checkpoints.restore_ema({"w": np.zeros(2, int)}, 1)
  checkpoints.close()
