"""Checkpoints: exact, checked, and of one architecture."""

import chex
import jax
import numpy as np
import pytest

from lowdiff_jax.train.checkpoint import Checkpoints
from lowdiff_jax.train.manifest import MANIFEST
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
