"""When training logs, evaluates, saves and stops."""

import json
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lowdiff_jax.train import loop, state
from lowdiff_jax.train.checkpoint import Checkpoints
from lowdiff_jax.train.goodput import PARTS, Goodput
from lowdiff_jax.train.manifest import MANIFEST
from lowdiff_jax.train.schedule import Schedule
from lowdiff_jax.types import Batch, UserError

BATCH = 4


class Writer:
  """Keeps what is written."""

  def __init__(self):
    self.lines = []

  def write_scalars(self, step, scalars):
    self.lines.append((step, dict(scalars)))


def run(
  folder,
  num_steps=10,
  start=None,
  losses=None,
  on_step=None,
  save_every=4,
  **schedule,
):
  """Trains with a step that only counts; returns what happened."""
  began, evaluated, writer = [], [], Writer()

  def train_step(current, key, batch):
    step = int(current.step) + 1
    if on_step:
      on_step(step)
    value = (losses or {}).get(step, float(step))
    metrics = {"loss": jnp.asarray(value), "grad_norm": jnp.asarray(1.0)}
    seen = current.images_seen + jnp.uint32(BATCH)
    return current._replace(step=current.step + 1, images_seen=seen), metrics

  def batches(step):
    began.append(step)
    while True:
      yield Batch(np.zeros((BATCH, 1)), np.zeros(BATCH))

  def evaluate(current):
    evaluated.append(int(current.step))
    return {"watched": 1.0}, float(current.step)

  if start is None:
    start = state.create({"w": jnp.ones(2)}, optax.identity())
  checkpoints = Checkpoints(folder, keep=10)
  try:
    end = loop.train(
      start,
      train_step=train_step,
      batches=batches,
      key=jax.random.key(0),
      schedule=Schedule(num_steps, BATCH, 3, 5, save_every, **schedule),
      run=loop.Run(
        folder, checkpoints, {"who": "me"}, writer, evaluate, Goodput()
      ),
    )
  finally:
    checkpoints.close()
  return end, began, evaluated, writer.lines


def saved(folder):
  return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())


def test_logs_evaluations_and_checkpoints_come_when_they_should(tmp_path):
  end, began, evaluated, lines = run(tmp_path)
  assert int(end.step) == 10 and began == [0]
  assert evaluated == [5, 10] and saved(tmp_path) == [4, 8, 10]
  logs = {step: line for step, line in lines if "loss" in line}
  # Every third step, and whenever one saves.
  assert list(logs) == [3, 4, 6, 8, 9, 10]
  assert [logs[s]["images"] for s in logs] == [BATCH * s for s in logs]
  # Means since the last log.
  assert logs[3]["loss"] == 2.0 and logs[6]["loss"] == 5.5
  assert all(line["images_per_second"] > 0 for line in logs.values())


def test_images_of_another_batch_size_stay_counted(tmp_path):
  start = state.create({"w": jnp.ones(2)}, optax.identity())
  start = start._replace(
    step=jnp.asarray(6, jnp.int32), images_seen=jnp.asarray(100, jnp.uint32)
  )
  end, began, _, lines = run(tmp_path, start=start)
  assert began == [6] and int(end.images_seen) == 116
  assert [line["images"] for _, line in lines if "loss" in line][-1] == 116


def test_what_is_done_is_not_done_again(tmp_path):
  start = state.create({"w": jnp.ones(2)}, optax.identity())
  start = start._replace(step=jnp.asarray(10, jnp.int32))
  _, _, evaluated, lines = run(tmp_path, start=start)
  assert evaluated == [] and lines == [] and saved(tmp_path) == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_is_named_with_its_step(value, tmp_path):
  with pytest.raises(UserError, match=r"at step 6 \(step 4 is kept\)"):
    run(tmp_path, losses={6: value})
  assert saved(tmp_path) == [4]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_ends(number, tmp_path):
  def stop(step):
    if step == 7:
      signal.raise_signal(number)

  before = signal.getsignal(number)
  with pytest.raises(SystemExit) as error:
    run(tmp_path, on_step=stop)
  assert error.value.code == 128 + number
  assert saved(tmp_path) == [4, 7]
  assert signal.getsignal(number) == before


def test_meta_is_kept_with_images_seen(tmp_path):
  run(tmp_path)
  checkpoints = Checkpoints(tmp_path, create=False)
  meta = checkpoints.meta(8)
  checkpoints.close()
  assert meta["who"] == "me" and meta["images_seen"] == 8 * BATCH
  assert meta["shapes"] == {"w": [2]}


class FoundError(Exception):
  """Ends a run."""


def test_a_manifest_does_not_wait_for_the_next_checkpoint(tmp_path):
  def look(step):
    if (tmp_path / "300" / MANIFEST).exists():
      raise FoundError
    time.sleep(0.03 if step > 300 else 0)

  start = state.create({"w": jnp.ones(2)}, optax.identity())
  start = start._replace(step=jnp.asarray(299, jnp.int32))
  with pytest.raises(FoundError):
    run(tmp_path, 599, start, on_step=look, save_every=300)


def test_saves_by_the_clock_at_logs(tmp_path, monkeypatch):
  now = [0.0]
  monkeypatch.setattr(time, "monotonic", lambda: now[0])

  def tick(step):
    now[0] += 10.0

  run(tmp_path, 12, on_step=tick, save_every=100, checkpoint_seconds=45.0)
  # Logs are at 3, 6, 9, 12: 45 s after the start comes step 6, and so on.
  assert saved(tmp_path) == [6, 12]


def test_each_evaluation_saves_if_the_best_is_kept(tmp_path):
  run(tmp_path, save_every=100, keep_best=True)
  assert saved(tmp_path) == [5, 10]
  # The score is the step's: lower is better.
  assert json.loads((tmp_path / "best.json").read_text())["step"] == 5


def test_multiples_to_be_kept_are_saved(tmp_path):
  run(tmp_path, save_every=100, keep_every=3)
  assert saved(tmp_path) == [3, 6, 9, 10]


def test_goodput_is_logged_and_saved(tmp_path):
  *_, lines = run(tmp_path)
  logs = [line for _, line in lines if "loss" in line]
  shares = [logs[-1][f"goodput/{part}"] for part in PARTS]
  assert sum(shares) == pytest.approx(1.0) and min(shares[:5]) > 0
  checkpoints = Checkpoints(tmp_path, create=False)
  saved = [checkpoints.meta(step)["goodput"]["saved"] for step in (8, 10)]
  checkpoints.close()
  # After its end a run is not waiting.
  assert saved[0] > 0 and saved[1] is None
