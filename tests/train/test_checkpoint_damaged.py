"""Damaged and vanishing checkpoints: the one before is used, together."""

import subprocess
import sys

import numpy as np
import pytest

from launch.local_processes import free_port
from lowdiff_jax.train.checkpoint import DAMAGED, Checkpoints
from lowdiff_jax.types import UserError
from tests import command_line
from tests.train.test_checkpoint import SMALL, add, damage, files_of


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
  (warning,) = [
    r.getMessage() for r in caplog.records if r.levelname == "WARNING"
  ]
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
  port = str(free_port())
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
