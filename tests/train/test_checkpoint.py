"""Checkpoints: exact, checked, and of one architecture."""

import json
import shutil
import socket
import subprocess
import sys

import chex
import jax
import numpy as np
import optax
import pytest

from lowdiff_jax.train.best import FILE
from lowdiff_jax.train.checkpoint import DAMAGED, Checkpoints
from lowdiff_jax.train.manifest import MANIFEST
from lowdiff_jax.train.state import create
from lowdiff_jax.types import UserError
from tests import command_line, tiny


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


@pytest.mark.parametrize(
  "name", ["_CHECKPOINT_METADATA", "_METADATA", "manifest.json", "metadata"]
)
def test_training_goes_on_from_the_one_before_a_damaged_one(
  name, tmp_path, caplog
):
  add(tmp_path, 4, keep=2)
  add(tmp_path, 8, keep=2, score=1.0)
  if name == "_CHECKPOINT_METADATA":
    path = tmp_path / "8" / name
    path.write_text('{"performance_metrics": 1e308}')
  else:
    damage(tmp_path / "8", name)
  before = files_of(tmp_path)
  checkpoints = Checkpoints(tmp_path, create=False)
  weights = checkpoints.read(
    None, lambda step: checkpoints.restore_ema({"w": np.zeros(2, int)}, step)
  )
  # Who only reads takes it too, and leaves everything as it is.
  assert weights["w"].tolist() == [4, 4] and files_of(tmp_path) == before
  (warning,) = [r.getMessage() for r in caplog.records]
  assert f"{tmp_path}/8" in warning and "step 4 is used instead" in warning
  with pytest.raises(UserError, match=r"/8.*; there are 4, 8$"):
    checkpoints.read(
      8, lambda step: checkpoints.restore_ema({"w": np.zeros(2, int)}, step)
    )
  caplog.clear()
  checkpoints = Checkpoints(tmp_path, keep=3)
  restored = checkpoints.restore(SMALL)
  assert restored.params["w"].tolist() == [4, 4]
  assert any(f"8{DAMAGED}" in r.getMessage() for r in caplog.records)
  assert checkpoints.latest_step() == 4
  for step in (6, 8):
    checkpoints.save(restored._replace(step=np.asarray(step, np.int32)), {})
  checkpoints.close()
  names = {path.name for path in tmp_path.iterdir() if path.is_dir()}
  assert names == {"4", "6", "8", f"8{DAMAGED}"}
  checkpoints = Checkpoints(tmp_path, create=False)
  assert int(checkpoints.restore(SMALL).step) == 8
  checkpoints.close()


def test_those_set_aside_are_replaced(tmp_path):
  add(tmp_path, 4, keep=3)
  for _ in range(2):
    add(tmp_path, 8, keep=3)
    file = damage(tmp_path / "8")
    checkpoints = Checkpoints(tmp_path)
    checkpoints.restore(SMALL)
    checkpoints.close()
    assert (
      tmp_path / f"8{DAMAGED}" / file.relative_to(tmp_path / "8")
    ).exists()


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
    checkpoints.read(
      1, lambda step: checkpoints.restore_ema({"w": np.zeros(2, int)}, step)
    )
  checkpoints.close()


def test_two_processes_go_on_together_from_the_one_before(tmp_path):
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = str(free.getsockname()[1])
  processes = [
    subprocess.Popen(
      [
        *(sys.executable, "-m", "tests.train.restore_together"),
        *(str(tmp_path), port, str(index)),
      ],
      cwd=command_line.REPOSITORY,
      env=command_line.environment(),
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for index in range(2)
  ]
  for process in processes:
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "restored 4 (64, 64) 4.0\nthen 8\n" in printed
  assert (tmp_path / f"8{DAMAGED}").is_dir()
