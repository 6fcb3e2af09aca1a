"""Checkpoints: Orbax, with the shapes checked before and the bytes after.

A checkpoint has three items: `state`, `ema` (all that sampling needs) and
`meta` (JSON: the shapes and what the caller adds). Orbax commits a checkpoint
by renaming its folder, so a killed write leaves nothing that looks complete; it
does not notice damaged bytes, so a manifest of sha256 sums lies beside.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging

from lowdiff_jax import files
from lowdiff_jax.distributed import is_main
from lowdiff_jax.reading import reading
from lowdiff_jax.train.state import TrainState
from lowdiff_jax.types import UserError

MANIFEST = "manifest.json"


class Checkpoints:
  """The checkpoints of one run, each named after its step."""

  def __init__(
    self,
    directory: Path,
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
    self._directory, self._option = Path(directory).absolute(), option
    if not create and not self._directory.is_dir():
      raise self._none()
    options = ocp.CheckpointManagerOptions(
      max_to_keep=keep,
      create=create,
      cleanup_tmp_directories=create,
    )
    # Orbax looks at the newest.
    way_out = (
      "delete the folder of its highest step to go on from the one before"
    )
    with contextlib.ExitStack() as stack:
      stack.enter_context(reading(self._directory, way_out))
      if create:
        stack.enter_context(files.writing(self._directory))
      self._manager = ocp.CheckpointManager(self._directory, options=options)
    self._verified: set[tuple[int, str]] = set()

  def latest_step(self) -> int | None:
    """The newest complete checkpoint."""
    return self._manager.latest_step()

  def existing_step(self, step: int | None = None) -> int:
    """`step` or the newest; raises UserError if there is no such checkpoint."""
    steps = self._manager.all_steps()
    if not steps:
      raise self._none()
    if step is not None and step not in steps:
      raise UserError(
        f"no checkpoint of step {step} in {self._directory}, only of "
        f"{', '.join(map(str, sorted(steps)))}"
      )
    return max(steps) if step is None else step

  def save(self, state: TrainState, meta: dict[str, Any]) -> None:
    """Starts writing a checkpoint; returns before it is on disk."""
    step = int(state.step)
    if step == self.latest_step():
      return
    self._wait()
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

  def meta(self, step: int | None = None) -> dict[str, Any]:
    """What `save` was given, of the newest checkpoint or that of `step`."""
    step = self.existing_step(step)
    with self.reading(step):
      self._verify(step, "meta/")
      args = ocp.args.Composite(meta=ocp.args.JsonRestore())
      return self._manager.restore(step, args=args)["meta"]

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
      restored = self._manager.restore(step, args=args)
      return restored["state"]._replace(ema_params=restored["ema"])

  def restore_ema(self, target: Any, step: int | None = None) -> Any:
    """The EMA weights alone; see `restore`."""
    args = ocp.args.Composite(ema=ocp.args.StandardRestore(target))
    with self.reading(self.existing_step(step)) as step:
      self._check(step, target)
      return self._manager.restore(step, args=args)["ema"]

  @contextlib.contextmanager
  def reading(self, step: int) -> Iterator[int]:
    """Turns errors of a damaged checkpoint into a UserError; yields `step`."""
    folder = self._directory / str(step)
    with reading(folder, "delete it to go on from the checkpoint before it"):
      yield step

  def sha256(self, step: int) -> str | None:
    """SHA-256 of a checkpoint's manifest, and so of its content."""
    manifest = self._directory / str(step) / MANIFEST
    return files.sha256(manifest) if manifest.exists() else None

  def close(self) -> None:
    """Waits until everything is on disk."""
    try:
      self._wait()
    finally:
      with files.writing(self._directory):
        self._manager.close()

  def _wait(self) -> None:
    """Waits for the write that is under way, and adds its sums."""
    with files.writing(self._directory):
      self._manager.wait_until_finished()
    self._write_manifests()

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
    folder = self._directory / str(step)
    manifest = folder / MANIFEST
    if self._verified & {(step, part), (step, "")}:
      return
    self._verified.add((step, part))
    if not manifest.exists():
      logging.warning("%s has no manifest: its bytes are not checked", folder)
      return
    for name, digest in json.loads(manifest.read_text()).items():
      if not name.startswith(part):
        continue
      file = folder / name
      if not file.exists() or files.sha256(file) != digest:
        raise UserError(
          f"{file} is damaged; delete {folder} to go on from the checkpoint "
          "before it"
        )

  def _write_manifests(self) -> None:
    if not is_main():
      return
    for folder in self._directory.iterdir():
      manifest = folder / MANIFEST
      if not folder.name.isdigit() or manifest.exists():
        continue
      paths = sorted(path for path in folder.rglob("*") if path.is_file())
      sums = {
        str(path.relative_to(folder)): files.sha256(path) for path in paths
      }
      files.write_json(manifest, sums, indent=1)


def _shapes(params: Any) -> dict[str, list[int]]:
  leaves = jax.tree_util.tree_leaves_with_path(params)
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): list(leaf.shape)
    for path, leaf in leaves
  }
