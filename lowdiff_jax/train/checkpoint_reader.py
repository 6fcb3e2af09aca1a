"""Reads checkpoints: the newest that is whole, its shapes and bytes checked.

A checkpoint has three items: `state`, `ema` (all that sampling needs) and
`meta` (JSON: the shapes and what the caller adds). Orbax commits it by renaming
its folder, or by a file in it where nothing can be renamed, so a killed write
leaves nothing that looks complete; it does not notice damaged bytes, so a
manifest of sums lies beside. Whoever only reads writes nothing, holds no lock
and may do so beside a training.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from jax.experimental import multihost_utils

from lowdiff_jax import distributed, files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.distributed import is_main
from lowdiff_jax.reading import reason
from lowdiff_jax.train import manifest
from lowdiff_jax.types import UserError

T = TypeVar("T")

# How many checkpoints are tried, the newest first, if they are damaged or
# training removes them.
_TRIES = 3


class UnreadableError(UserError):
  """A checkpoint that is damaged or gone; another one may be read."""


class CheckpointReader:
  """The checkpoints in a folder, each named after its step."""

  def __init__(self, directory: AnyPath, option: str):
    """Opens a folder, which need not exist.

    Args:
      directory: the folder.
      option: of the command line, that names the run; for messages.
    """
    self.directory = files.absolute(directory)
    self._option = option
    self._verified: set[tuple[int, str]] = set()
    self._reader = ocp.Checkpointer(ocp.CompositeCheckpointHandler())

  def complete(self) -> list[Any]:
    """Orbax's `Metadata` of the complete checkpoints that are there now."""
    folder = epath.Path(self.directory)
    found = ocp.path.step.standard_name_format().find_all(folder)
    return sorted(found, key=lambda metadata: metadata.step)

  def steps(self) -> list[int]:
    """Their steps, in order."""
    return [metadata.step for metadata in self.complete()]

  def folder(self, step: int) -> AnyPath:
    """The folder of a checkpoint."""
    return self.directory / str(step)

  def latest_step(self) -> int | None:
    """The newest checkpoint."""
    return max(self.steps(), default=None)

  def existing_step(self, step: int | None = None) -> int:
    """`step` or the newest; raises UserError if there is no such checkpoint."""
    steps = self.steps()
    if not steps:
      raise self._none()
    if step is not None and step not in steps:
      raise UnreadableError(
        f"no checkpoint of step {step} in {self.directory}, only of "
        f"{', '.join(map(str, steps))}"
      )
    return steps[-1] if step is None else step

  def read(self, step: int | None, read: Callable[[int], T]) -> T:
    """Reads a checkpoint, the newest that can be read.

    Args:
      step: of the checkpoint; None for the newest. If that is damaged, the one
        before it is read, with a warning; if a training beside removes it
        meanwhile, the newest then.
      read: gets the step.

    Returns:
      What `read` returned.

    Raises:
      UserError: there is no such checkpoint, any more, or it is damaged.
    """
    if step is not None:
      return self._read_one(self.existing_step(step), read)
    failed: dict[int, UnreadableError] = {}
    while len(failed) < _TRIES:
      self.existing_step()  # Raises if there is none.
      left = [other for other in self.steps() if other not in failed]
      here = distributed.agree(max(left, default=-1))
      if here < 0:
        break
      error = None
      try:
        value = read(here)
      except UnreadableError as found:
        error = found
      if not _anywhere(error is not None):
        self._warn(failed, here)
        return value
      failed[here] = error or UnreadableError(
        f"{self.folder(here)} cannot be read by another process"
      )
    tried = list(failed)
    if tried[-1] not in self.steps():
      raise failed[tried[-1]]
    raise self.none_readable(str(failed[tried[0]]))

  def _read_one(self, step: int, read: Callable[[int], T]) -> T:
    try:
      return read(step)
    except UnreadableError as error:
      steps = self.steps()
      if step not in steps:
        raise
      newer = [str(other) for other in steps if other > step]
      way_out = (
        f"training may have removed it; newer are {', '.join(newer)}"
        if newer
        else f"there are {', '.join(map(str, steps))}"
      )
      raise UserError(f"{error}; {way_out}") from error

  def _warn(self, failed: dict[int, UnreadableError], step: int) -> None:
    """Of damaged checkpoints; those that training has removed were whole."""
    for other in self.steps() if is_main() else ():
      if other in failed:
        text = f"{failed[other]}: the checkpoint of step {step} is used instead"
        logging.warning("%s", text)

  def meta(self, step: int | None = None) -> dict[str, Any]:
    """What `save` was given, of the newest checkpoint or that of `step`."""
    step = self.existing_step(step)
    with self.reading(step):
      self._verify(step, "meta/")
      args = ocp.args.Composite(meta=ocp.args.JsonRestore())
      return dict(self._restore(step, args)["meta"])

  def restore_ema(self, target: Any, step: int | None = None) -> Any:
    """The EMA weights alone, of the newest checkpoint or that of `step`.

    Args:
      target: shapes and shardings to restore onto (`jax.ShapeDtypeStruct`).
      step: of the checkpoint.

    Returns:
      The weights.

    Raises:
      UserError: it is gone, damaged, or of another architecture.
    """
    args = ocp.args.Composite(ema=ocp.args.StandardRestore(target))
    with self.reading(self.existing_step(step)) as step:
      self._check(step, target)
      return self._restore(step, args)["ema"]

  def _restore(self, step: int, args: ocp.args.Composite) -> Any:
    return self._reader.restore(self.folder(step), args=args)

  @contextlib.contextmanager
  def reading(self, step: int) -> Iterator[int]:
    """Turns errors of a checkpoint into UnreadableErrors; yields `step`."""
    try:
      yield step
    except Exception as error:
      self.existing_step(step)  # Training may have removed it.
      if isinstance(error, UserError | jax.errors.JaxRuntimeError):
        raise
      raise UnreadableError(
        f"{self.folder(step)} cannot be read ({reason(error)})"
      ) from error

  def sha256(self, step: int) -> str:
    """SHA-256 of a checkpoint's manifest, and so of its content."""
    with self.reading(step):
      return manifest.manifest_sha256(self.folder(step))

  def _check(self, step: int, params: Any) -> None:
    """Raises UserError if bytes or shapes of a checkpoint are not right."""
    self._verify(step)
    there, here = self.meta(step)["shapes"], shapes(params)
    for name in sorted(there.keys() | here.keys()):
      if there.get(name) != here.get(name):
        raise UserError(
          f"checkpoint {self.folder(step)} is of another "
          f"architecture: {name} is {there.get(name, 'absent')} there and "
          f"{here.get(name, 'absent')} here; use the config it was trained "
          f"with, or another {self._option}"
        )

  def none_readable(self, why: str) -> UserError:
    """What to raise if checkpoints are damaged, and there is no other."""
    return UserError(
      f"{why}, and no other checkpoint can be read: delete {self.directory} to "
      f"begin again, or set {self._option}"
    )

  def _none(self) -> UserError:
    return UserError(
      f"no checkpoint in {self.directory}: train first, or set {self._option}"
    )

  def _verify(self, step: int, part: str = "") -> None:
    """Compares the sums of a checkpoint's files, or of a part, once.

    Process 0 does so for all.
    """
    if self._verified & {(step, part), (step, "")}:
      return
    folder, error = self.folder(step), None
    if is_main():
      try:
        with self.reading(step):
          file = manifest.damaged_file(folder, part)
        if file is not None:
          error = UnreadableError(f"{file} is damaged")
      except UnreadableError as found:
        error = found
    if distributed.agree(int(error is not None)):
      raise error or UnreadableError(f"{folder} is damaged")
    self._verified.add((step, part))


def _anywhere(flag: bool) -> bool:
  """Whether the flag is set on any process; the same answer on all."""
  if jax.process_count() == 1:
    return flag
  return bool(multihost_utils.process_allgather(np.asarray(flag)).any())


def shapes(params: Any) -> dict[str, list[int]]:
  """The shape of each array, by its path in the tree."""
  leaves = jax.tree_util.tree_leaves_with_path(params)
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): list(leaf.shape)
    for path, leaf in leaves
  }
