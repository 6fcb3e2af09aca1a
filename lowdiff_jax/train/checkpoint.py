"""Writes checkpoints, asynchronously, and keeps those that a policy names."""

from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from orbax.checkpoint import checkpoint_managers as policies

from lowdiff_jax import distributed, files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.distributed import is_main
from lowdiff_jax.train import manifest
from lowdiff_jax.train.best import Best
from lowdiff_jax.train.checkpoint_reader import CheckpointReader, shapes
from lowdiff_jax.train.state import TrainState

# Ends the name of a damaged checkpoint that training has set aside.
DAMAGED = ".damaged"
# Bytes of an array that each process writes, at least.
_SMALLEST_SHARE = 2**20


def _arrays() -> ocp.PyTreeCheckpointHandler:
  """What writes trees of arrays: of copies a share each, if they are large.

  A share is cut out by a program that is compiled for each shape and place:
  for a network's many small arrays that takes longer than to write them.
  """
  handlers = ocp.type_handlers
  shared_out = handlers.ArrayHandler(
    min_slice_bytes_for_replica_parallel=_SMALLEST_SHARE
  )
  registry = handlers.create_type_handler_registry(
    (np.number, handlers.ScalarHandler()),
    (np.ndarray, handlers.NumpyHandler()),
    (jax.Array, shared_out),
  )
  return ocp.PyTreeCheckpointHandler(type_handler_registry=registry)


class Checkpoints(CheckpointReader):
  """The checkpoints of one run, which its training writes."""

  def __init__(
    self,
    directory: AnyPath,
    *,
    keep: int = 2,
    keep_every: int = 0,
    create: bool = True,
    option: str = "--workdir",
  ):
    """Opens a folder of checkpoints.

    Args:
      directory: the folder.
      keep: how many checkpoints stay, the newest.
      keep_every: multiples of so many steps stay for good; 0: none.
      create: False only to read.
      option: of the command line, that names the run; for messages.
    """
    super().__init__(directory, option)
    if not create and not files.is_folder(self.directory):
      raise self._none()
    self._keep, self._keep_every = keep, keep_every
    self._manager = self._open() if create else None
    # A kill may have left a checkpoint without its manifest.
    self._may_lack_manifest = create

  def _open(self) -> ocp.CheckpointManager:
    self._set_aside(self._without_timestamp())
    self._best = Best(self.directory, self.steps())
    stay = [policies.LatestN(self._keep), self._best]
    if self._keep_every:
      stay.append(policies.EveryNSteps(self._keep_every))
    options = ocp.CheckpointManagerOptions(
      preservation_policy=policies.AnyPreservationPolicy(stay),
      create=True,
      cleanup_tmp_directories=True,
    )
    with files.writing(self.directory):
      return ocp.CheckpointManager(
        self.directory,
        item_handlers={
          "state": _arrays(),
          "ema": _arrays(),
          "meta": ocp.JsonCheckpointHandler(),
        },
        options=options,
      )

  def _without_timestamp(self) -> list[int]:
    """Steps of checkpoints at whose timestamps Orbax would fail.

    Raises:
      UserError: there are no others.
    """
    damaged, there = [], self.complete()
    for found in there:
      try:
        found.commit_timestamp  # noqa: B018
      except Exception:
        damaged.append(found.step)
    if damaged and len(damaged) == len(there):
      raise self.none_readable(f"{self.folder(damaged[-1])} is damaged")
    return damaged

  def latest_step(self) -> int | None:
    """The newest checkpoint, which may still be being written by `save`."""
    if self._manager is not None:
      return self._manager.latest_step()
    return super().latest_step()

  def save(self, state: TrainState, meta: dict[str, Any]) -> None:
    """Starts writing a checkpoint; returns before it is on disk."""
    assert self._manager is not None, "opened only to read"
    step = int(state.step)
    if step == self.latest_step():
      return
    self.wait()
    self._may_lack_manifest = True
    meta = {
      **meta,
      "shapes": shapes(state.params),
      "images_seen": int(state.images_seen),
    }
    with files.writing(self.directory):
      self._manager.save(
        step,
        args=ocp.args.Composite(
          state=ocp.args.PyTreeSave(state._replace(ema_params=None)),
          ema=ocp.args.PyTreeSave(state.ema_params),
          meta=ocp.args.JsonSave(meta),
        ),
      )

  def keep_if_best(self, step: int, score: float) -> None:
    """Keeps the checkpoint of `step` while no later one has a lower score.

    Args:
      step: of the checkpoint, the one saved last.
      score: of its evaluation; that of process 0 counts.
    """
    self._best.offer(step, score)

  def restore(self, target: TrainState) -> TrainState:
    """The newest checkpoint that can be read; see `read`.

    If training goes on from an earlier one, those that are damaged are set
    aside: their steps will be saved again.

    Args:
      target: shapes and shardings to restore onto (`jax.ShapeDtypeStruct`).

    Returns:
      The state.

    Raises:
      UserError: there is none, it is damaged, or of another architecture.
    """
    args = ocp.args.Composite(
      state=ocp.args.StandardRestore(target._replace(ema_params=None)),
      ema=ocp.args.StandardRestore(target.ema_params),
    )

    def read(step: int) -> tuple[int, TrainState]:
      with self.reading(step):
        self._check(step, target.params)
        restored = self._restore(step, args)
      return step, restored["state"]._replace(ema_params=restored["ema"])

    step, state = self.read(None, read)
    newer = [other for other in self.steps() if other > step]
    # Process 0 renames them, and others may look later.
    if self._manager is not None and distributed.agree(len(newer)):
      self._manager.close()
      self._set_aside(newer)
      self._manager = self._open()
    return state

  def _set_aside(self, steps: list[int]) -> None:
    """Renames damaged checkpoints: training will save their steps again."""
    for step in steps if is_main() else ():
      folder = self.directory / str(step)
      aside = folder.with_name(folder.name + DAMAGED)
      with files.writing(self.directory):
        files.remove_folder(aside)
        epath.Path(folder).rename(aside)
      logging.warning("the damaged checkpoint is now %s: delete it", aside)
    distributed.barrier("damaged checkpoints are set aside")

  def add_manifests(self) -> None:
    """Writes the manifest of a checkpoint whose write has finished, if any."""
    if self._manager is None or not self._may_lack_manifest:
      return
    if not self._manager.is_saving_in_progress():
      for step in self.steps() if is_main() else ():
        manifest.write_manifest(self.folder(step))
      self._may_lack_manifest = False

  def close(self) -> None:
    """Waits until everything is on disk."""
    self._reader.close()
    if self._manager is not None:
      try:
        self.wait()
      finally:
        with files.writing(self.directory):
          self._manager.close()

  def wait(self) -> None:
    """Waits for the write that is under way, and adds its manifest."""
    assert self._manager is not None
    with files.writing(self.directory):
      self._manager.wait_until_finished()
    self.add_manifests()
