"""Checkpoints: Orbax, with the shapes checked before and the bytes after.

A checkpoint has three items: `state`, `ema` (all that sampling needs) and
`meta` (JSON: the shapes and what the caller adds). A killed write leaves none
that looks complete. Orbax does not notice damaged bytes, so a manifest of sums
lies beside. Only training writes; who reads beside it holds no lock.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import orbax.checkpoint as ocp

from lowdiff_jax import buckets, files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.distributed import is_main
from lowdiff_jax.reading import reading
from lowdiff_jax.train import manifest
from lowdiff_jax.train.state import TrainState
from lowdiff_jax.types import UserError

T = TypeVar("T")
# How many checkpoints are tried if training removes them one after another.
_TRIES = 3


class Checkpoints:
  """The checkpoints of one run, each named after its step."""

  def __init__(
    self,
    directory: AnyPath,
    *,
    keep: int = 2,
    create: bool = True,
    option: str = "--workdir",
  ):
    """Opens a folder of checkpoints.

    Args:
      directory: the folder.
      keep: how many checkpoints stay, the newest.
      create: False only to read.
      option: of the command line, that names the run; for messages.
    """
    self._directory, self._option = files.absolute(directory), option
    if not create and not files.is_folder(self._directory):
      raise self._none()
    self._verified: set[tuple[int, str]] = set()
    self._reader = ocp.Checkpointer(ocp.CompositeCheckpointHandler())
    self._manager = self._open(keep) if create else None
    # A kill may have left a checkpoint without its manifest.
    self._may_lack_manifest = create

  def _open(self, keep: int) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(
      max_to_keep=keep, create=True, cleanup_tmp_directories=True
    )
    # Orbax looks at the newest.
    way_out = "delete its highest step's folder to go on from the one before"
    with reading(self._directory, way_out), files.writing(self._directory):
      return ocp.CheckpointManager(self._directory, options=options)

  def latest_step(self) -> int | None:
    """The newest checkpoint, which may still be being written by `save`."""
    if self._manager is not None:
      return self._manager.latest_step()
    return max(self._steps(), default=None)

  def existing_step(self, step: int | None = None) -> int:
    """`step` or the newest; raises UserError if there is no such checkpoint."""
    steps = self._steps()
    if not steps:
      raise self._none()
    if step is not None and step not in steps:
      raise UserError(
        f"no checkpoint of step {step} in {self._directory}, only of "
        f"{', '.join(map(str, steps))}"
      )
    return steps[-1] if step is None else step

  def _steps(self) -> list[int]:
    """Of the complete checkpoints, in order, as they are now."""
    # In a bucket Orbax renames no folder.
    mark = "commit_success.txt" if buckets.is_in_bucket(self._directory) else ""
    folders = [f for f in self._directory.glob("*") if f.name.isdecimal()]
    return sorted(int(f.name) for f in folders if (f / mark).exists())

  def save(self, state: TrainState, meta: dict[str, Any]) -> None:
    """Starts writing a checkpoint; returns before it is on disk."""
    assert self._manager is not None, "opened only to read"
    step = int(state.step)
    if step == self.latest_step():
      return
    self._wait()
    self._may_lack_manifest = True
    meta = {
      **meta,
      "shapes": _shapes(state.params),
      "images_seen": int(state.images_seen),
    }
    with files.writing(self._directory):
      self._manager.save(
        step,
        args=ocp.args.Composite(
          state=ocp.args.StandardSave(state._replace(ema_params=None)),
          ema=ocp.args.StandardSave(state.ema_params),
          meta=ocp.args.JsonSave(meta),
        ),
      )

  def read(
    self, step: int | None, read: Callable[[int], T], tries: int = _TRIES
  ) -> T:
    """Reads a checkpoint beside a training, which removes old ones.

    Args:
      step: of the checkpoint; None for the newest, and for the newest then if
        it is removed meanwhile.
      read: gets the step.
      tries: how often, at most.

    Returns:
      What `read` returned.

    Raises:
      UserError: there is no such checkpoint, any more, or it is damaged.
    """
    here = self.existing_step(step)
    try:
      return read(here)
    except UserError:
      if step is not None or tries == 1 or here == self.existing_step():
        raise
    return self.read(step, read, tries - 1)

  def meta(self, step: int | None = None) -> dict[str, Any]:
    """What `save` was given, of the newest checkpoint or that of `step`."""
    step = self.existing_step(step)
    with self.reading(step):
      self._verify(step, "meta/")
      args = ocp.args.Composite(meta=ocp.args.JsonRestore())
      return dict(self._restore(step, args)["meta"])

  def restore(self, target: TrainState) -> TrainState:
    """The newest checkpoint.

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
    with self.reading(self.existing_step()) as step:
      self._check(step, target.params)
      restored = self._restore(step, args)
      return restored["state"]._replace(ema_params=restored["ema"])

  def restore_ema(self, target: Any, step: int | None = None) -> Any:
    """The EMA weights alone; see `restore`."""
    args = ocp.args.Composite(ema=ocp.args.StandardRestore(target))
    with self.reading(self.existing_step(step)) as step:
      self._check(step, target)
      return self._restore(step, args)["ema"]

  def _restore(self, step: int, args: ocp.args.Composite) -> Any:
    return self._reader.restore(self._directory / str(step), args=args)

  @contextlib.contextmanager
  def reading(self, step: int) -> Iterator[int]:
    """Turns errors of a checkpoint into a UserError; yields `step`."""
    try:
      yield step
    except Exception:
      self.existing_step(step)  # Training may have removed it.
      with reading(self._directory / str(step), self._way_out(step)):
        raise

  def sha256(self, step: int) -> str:
    """SHA-256 of a checkpoint's manifest, and so of its content."""
    with self.reading(step):
      return manifest.manifest_sha256(self._directory / str(step))

  def add_manifests(self) -> None:
    """Writes the manifest of a checkpoint whose write has finished, if any."""
    if self._manager is None or not self._may_lack_manifest:
      return
    if not self._manager.is_saving_in_progress():
      for step in self._steps() if is_main() else ():
        manifest.write_manifest(self._directory / str(step))
      self._may_lack_manifest = False

  def close(self) -> None:
    """Waits until everything is on disk."""
    self._reader.close()
    if self._manager is not None:
      try:
        self._wait()
      finally:
        with files.writing(self._directory):
          self._manager.close()

  def _wait(self) -> None:
    """Waits for the write that is under way, and adds its manifest."""
    assert self._manager is not None
    with files.writing(self._directory):
      self._manager.wait_until_finished()
    self.add_manifests()

  def _check(self, step: int, params: Any) -> None:
    """Raises UserError if bytes or shapes of a checkpoint are not right."""
    self._verify(step)
    there, here = self.meta(step)["shapes"], _shapes(params)
    for name in sorted(there.keys() | here.keys()):
      if there.get(name) != here.get(name):
        raise UserError(
          f"checkpoint {self._directory / str(step)} is of another "
          f"architecture: {name} is {there.get(name, 'absent')} there and "
          f"{here.get(name, 'absent')} here; use the config it was trained "
          f"with, or another {self._option}"
        )

  def _none(self) -> UserError:
    return UserError(
      f"no checkpoint in {self._directory}: train first, or set {self._option}"
    )

  def _verify(self, step: int, part: str = "") -> None:
    """Compares the sums of a checkpoint's files, or of a part, once."""
    if self._verified & {(step, part), (step, "")}:
      return
    self._verified.add((step, part))
    file = manifest.damaged_file(self._directory / str(step), part)
    if file is not None:
      raise UserError(f"{file} is damaged; {self._way_out(step)}")

  def _way_out(self, step: int) -> str:
    """Of a checkpoint that cannot be read."""
    newer = [str(other) for other in self._steps() if other > step]
    if newer:
      return f"training may have removed it; newer are {', '.join(newer)}"
    folder = self._directory / str(step)
    return f"delete {folder} to go on from the checkpoint before it"


def _shapes(params: Any) -> dict[str, list[int]]:
  leaves = jax.tree_util.tree_leaves_with_path(params)
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): list(leaf.shape)
    for path, leaf in leaves
  }
