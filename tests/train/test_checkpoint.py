"""Checkpoints: exact, checked, and of one architecture."""

import json
import shutil

import chex
import jax
import numpy as np
import optax
import pytest

from lowdiff_jax.train.best import FILE
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


def test_no_program_is_compiled_to_save_small_arrays(state, tmp_path, caplog):
  # No other test has compiled a program for these shapes.
  padded = jax.tree.map(lambda x: np.pad(x, 1), jax.device_get(state.params))
  where = jax.tree.leaves(state.params)[0].sharding
  assert where.num_devices == 8 and where.is_fully_replicated
  params = jax.tree.map(lambda x: jax.device_put(x, where), padded)
  checkpoints = Checkpoints(tmp_path)
  with jax.log_compiles():
    checkpoints.save(state._replace(params=params), {})
    checkpoints.close()
  compiled = [r.getMessage() for r in caplog.records]
  assert not [text for text in compiled if "slice" in text]


@pytest.fixture(scope="module")
def of_eight(tmp_path_factory):
  """A checkpoint of eight devices, four of which share the parameters."""
  folder = tmp_path_factory.mktemp("eight")
  shapes = tiny.experiment(**{"mesh.fsdp": 4}).state_shapes
  rng = np.random.default_rng(0)

  def put(leaf):
    values = rng.integers(0, 100, leaf.shape).astype(leaf.dtype)
    return jax.device_put(values, leaf.sharding)

  state = jax.tree.map(put, shapes)
  assert any(not x.sharding.is_fully_replicated for x in jax.tree.leaves(state))
  checkpoints = Checkpoints(folder)
  checkpoints.save(state, {})
  checkpoints.close()
  return folder, jax.device_get(state)


@pytest.mark.parametrize(
  ("devices", "fsdp"), [(1, 1), (2, 1), (2, 2), (4, 4), (8, 2), (8, 8)]
)
def test_restores_onto_another_mesh(devices, fsdp, of_eight):
  folder, state = of_eight
  there = tiny.experiment(
    devices=jax.devices()[:devices], **{"mesh.fsdp": fsdp}
  )
  checkpoints = Checkpoints(folder, create=False)
  restored = checkpoints.restore(there.state_shapes)
  checkpoints.close()
  chex.assert_trees_all_equal(restored, state)
  for leaf, target in zip(
    jax.tree.leaves(restored), jax.tree.leaves(there.state_shapes), strict=True
  ):
    assert leaf.sharding.is_equivalent_to(target.sharding, leaf.ndim)


def test_another_architecture_is_named(folder):
  wider = tiny.experiment(**{"model.channels": 16})
  checkpoints = Checkpoints(folder, create=False)
  with pytest.raises(UserError, match="of another architecture: backbone/"):
    checkpoints.restore(wider.state_shapes)
  baseline = tiny.experiment("smoke,baseline")
  with pytest.raises(UserError, match="here; use the config"):
    checkpoints.restore_ema(baseline.state_shapes.ema_params)
  checkpoints.close()


def damage(step_folder, name="*"):
  """Flips a bit of the largest file of this name."""
  files = [p for p in step_folder.rglob(name) if p.is_file()]
  largest = max(files, key=lambda path: path.stat().st_size)
  data = bytearray(largest.read_bytes())
  data[len(data) // 2] ^= 1
  largest.write_bytes(data)
  return largest


def test_a_flipped_bit_is_found(folder, experiment):
  file = damage(folder / "7")
  checkpoints = Checkpoints(folder)
  said = f"{file.name} is damaged, and no other .* delete {folder} to begin"
  with pytest.raises(UserError, match=said):
    checkpoints.restore(experiment.state_shapes)
  checkpoints.close()
  assert (folder / "7").exists()


def test_no_checkpoint(tmp_path, folder):
  with pytest.raises(UserError, match="train first, or set --workdir"):
    Checkpoints(tmp_path / "nothing", create=False)
  checkpoints = Checkpoints(folder, create=False)
  with pytest.raises(UserError, match=r"no checkpoint of step 3 .* only of 7"):
    checkpoints.existing_step(3)
  checkpoints.close()


def test_keeps_the_newest_with_their_manifests(tmp_path):
  for step in (1, 2, 3):
    add(tmp_path, step, keep=2)
  assert sorted(p.name for p in tmp_path.iterdir()) == ["2", "3"]
  for step in ("2", "3"):
    assert (tmp_path / step / MANIFEST).exists()


def test_keeps_multiples_and_the_best_over_restarts(tmp_path):
  for step, score in enumerate([4.0, 2.0, 3.0, 9.0, np.nan, 2.5, 5.0], 1):
    add(tmp_path, step, keep=1, keep_every=3, score=score)
  kept = {path.name for path in tmp_path.iterdir()}
  assert kept == {"2", "3", "6", "7", FILE}
  assert json.loads((tmp_path / FILE).read_text()) == {"step": 2, "score": 2.0}
  # Of what is gone there is no score.
  shutil.rmtree(tmp_path / "2")
  add(tmp_path, 8, keep=1, score=7.0)
  assert json.loads((tmp_path / FILE).read_text())["step"] == 8


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


SMALL = create({"w": np.zeros(2, int)}, optax.identity())


def add(folder, step, keep, score=None, **options):
  """Saves a small checkpoint, as a training does that keeps so many."""
  small = create({"w": np.full(2, step)}, optax.identity())
  checkpoints = Checkpoints(folder, keep=keep, **options)
  checkpoints.save(small._replace(step=np.asarray(step, np.int32)), {})
  if score is not None:
    checkpoints.keep_if_best(step, score)
  checkpoints.close()
