"""Writes a data set of latents; reader.py describes its files.

After an interruption the next run writes the missing shards, and ends with the
same bytes as an uninterrupted run.
"""

import itertools
import json
import reprlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lowdiff_jax import console, files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.data import pipeline
from lowdiff_jax.data.latents.reader import MANIFEST, SETTINGS, VERSION
from lowdiff_jax.data.latents.shards import Layout, Shard, split_shards
from lowdiff_jax.distributed import ahead
from lowdiff_jax.types import AnyArray, ImageSource, UserError

# (images [B,R,R,C] uint8, indices [B] int32) -> latents [B,r,r,C] of each
# resolution, lowest first. An index is the record's own among those of all
# splits: what the noise of its posterior should be drawn from.
Encode = Callable[[np.ndarray, np.ndarray], tuple[AnyArray, ...]]


class Processes(NamedTuple):
  """The processes that write a set together.

  Attributes:
    index: of this one.
    count: of all.
    barrier: waits for all of them.
  """

  index: int = 0  # type: ignore[assignment]  # It hides tuple.index.
  count: int = 1  # type: ignore[assignment]  # It hides tuple.count.
  barrier: Callable[[], None] = lambda: None


ALONE = Processes()


def write_latents(
  splits: Mapping[str, ImageSource],
  encode: Encode,
  folder: AnyPath,
  *,
  provenance: dict[str, Any],
  layout: Layout,
  batch_size: int,
  processes: Processes = ALONE,
) -> None:
  """Encodes all images that are not yet, and writes the manifest.

  Args:
    splits: "train" and "test".
    encode: the autoencoder; always called with batch_size images.
    folder: to write to; the same for all processes.
    provenance: how the latents are made, as JSON; a folder keeps to one.
    layout: what the files hold.
    batch_size: images, and mirror images, to encode at a time.
    processes: that share the shards; one by default.

  Raises:
    UserError: the folder was made otherwise, cannot be written, or lacks what
      another process should have written; or a latent is not finite.
  """
  flip, shard_images = layout
  settings = _settings(splits, provenance, flip, shard_images)
  _claim(folder, settings, processes.index)
  shards, first = {}, 0
  for name, source in splits.items():
    copies = 2 if flip and name == "train" else 1
    shards[name] = split_shards(folder, name, len(source), shard_images, copies)
    mine = shards[name][processes.index :: processes.count]
    todo = [shard for shard in mine if not shard.is_whole()]
    if todo:  # Until they are written, the set is not whole.
      (folder / MANIFEST).unlink(missing_ok=True)
    console.say(f"{name}: {len(todo)} of {len(mine)} shards to encode")
    batches = _read_ahead(source, todo, first, copies, batch_size)
    _write_shards(todo, batches, encode, batch_size)
    first += copies * len(source)
  processes.barrier()
  if processes.index == 0:
    _write_manifest(folder, settings, shards)
  processes.barrier()


def _settings(
  splits: Mapping[str, ImageSource],
  provenance: dict[str, Any],
  flip: bool,
  shard_images: int,
) -> dict[str, Any]:
  """What decides the content of a folder, as it is read back from JSON."""
  settings = {
    "version": VERSION,
    "provenance": provenance,
    "flip": flip,
    "shard_images": shard_images,
    "images": {name: len(source) for name, source in splits.items()},
    "num_classes": splits["train"].spec.num_classes,
    "class_names": list(splits["train"].class_names),
  }
  return json.loads(json.dumps(settings))


def _claim(folder: AnyPath, settings: dict[str, Any], process: int) -> None:
  """Writes the settings of a new folder, or compares those of an old one."""
  path = folder / SETTINGS
  files.make_folder(folder)
  if (folder / MANIFEST).is_dir():
    raise UserError(f"{folder / MANIFEST} is no file: remove it")
  if not path.exists():
    if process == 0:
      files.write_json(path, settings, indent=1)
    return
  try:
    there = json.loads(path.read_text())
  except OSError as error:
    raise UserError(
      f"{path} cannot be read ({error.strerror}): remove {folder}, or choose "
      "another folder"
    ) from error
  except (ValueError, RecursionError):
    raise UserError(
      f"{path} is damaged: remove {folder}, or choose another folder"
    ) from None
  if difference := _difference("", there, settings):
    field, old, new = difference
    raise UserError(
      f"the latents in {folder} were encoded with {field} = {old}, now it is "
      f"{new}: choose another folder, or remove this one"
    )


def _difference(field: str, old: Any, new: Any) -> tuple[str, Any, Any] | None:
  """The first field in which two JSON values differ, and both its values."""
  if isinstance(old, dict) and isinstance(new, dict):
    for key in {**old, **new}:
      name = f"{field}.{key}" if field else key
      none = "nothing"
      if found := _difference(name, old.get(key, none), new.get(key, none)):
        return found
  elif old != new:
    return field, reprlib.repr(old), reprlib.repr(new)
  return None


def _read_ahead(
  source: ImageSource,
  shards: Sequence[Shard],
  first: int,
  copies: int,
  batch_size: int,
) -> Iterator:
  """Batches of all shards, none across two: (images, indices, labels).

  The last of a shard is filled up by repeating a record, so that the network
  is compiled for one size; it has only as many labels as there are records.
  """
  picks = [
    shard.records[start : start + batch_size]
    for shard in shards
    for start in range(0, len(shard.records), batch_size)
  ]

  def load(i: int) -> Any:
    records = np.array(picks[i], np.int32)
    numbers, where = np.unique(records // copies, return_inverse=True)
    batch = source.read(numbers)
    images = batch.image[where]
    mirrored = records % copies == 1
    images[mirrored] = images[mirrored, :, ::-1]
    fill = [(0, batch_size - len(records))]
    images = np.pad(images, fill + 3 * [(0, 0)], "edge")
    indices = np.pad(first + records, fill, "edge")
    return images, indices.astype(np.int32), batch.label[where]

  return pipeline.in_threads(load, range(len(picks)))


def _write_shards(
  shards: Sequence[Shard],
  batches: Iterator[Any],
  encode: Encode,
  batch_size: int,
) -> None:
  """Encodes batches and writes them into their shards."""
  begin, done = time.monotonic(), 0
  total = sum(len(shard.records) for shard in shards)
  for shard in shards:
    count = -(-len(shard.records) // batch_size)
    shard.write(_encoded(encode, itertools.islice(batches, count)))
    done += len(shard.records)
    speed = done / (time.monotonic() - begin)
    console.say(f"{shard.path.name}: {done} of {total} records, {speed:.0f}/s")


def _encoded(
  encode: Encode, batches: Iterable[Any]
) -> Iterator[tuple[list[np.ndarray], np.ndarray]]:
  """(latents [n,r,r,C] float16 of each resolution, labels [n])."""
  dispatched = ((encode(*batch[:2]), *batch[1:]) for batch in batches)
  for encoded, indices, labels in ahead(dispatched):
    latents = []
    for array in encoded:
      with np.errstate(over="ignore"):
        latent = np.asarray(array)[: len(labels)].astype(np.float16)
      finite = np.isfinite(latent).all((1, 2, 3))
      if not finite.all():
        raise UserError(
          f"the latent of record {indices[finite.argmin()]} is not finite in "
          "float16: check the autoencoder's weights"
        )
      latents.append(latent)
    yield latents, labels


def _write_manifest(
  folder: AnyPath, settings: dict[str, Any], shards: Mapping[str, list[Shard]]
) -> None:
  """Writes what the splits consist of, and the statistics of "train"."""
  summaries: dict[str, list[dict[str, Any]]] = {}
  for name, split in shards.items():
    summaries[name] = []
    for shard in split:
      summary = shard.summary()
      if summary is None:
        raise UserError(
          f"{shard.path} was not written by its process: all need the same "
          "folder; encode again"
        )
      summaries[name].append(summary)
  train = summaries["train"]
  resolution = train[0]["shapes"][-1][0]
  pixels = resolution**2 * sum(summary["count"] for summary in train)
  mean = np.sum([s["sum"] for s in train], axis=0) / pixels
  square = np.sum([s["sum_of_squares"] for s in train], axis=0) / pixels
  kept = ("file", "count", "bytes", "sha256")
  splits = {
    name: {
      "records": sum(summary["count"] for summary in found),
      "shards": [{key: summary[key] for key in kept} for summary in found],
    }
    for name, found in summaries.items()
  }
  manifest = {
    **settings,
    "shapes": train[0]["shapes"],
    "mean": mean.tolist(),
    "std": np.sqrt(np.maximum(square - mean**2, 0)).tolist(),
    "splits": splits,
  }
  files.write_json(folder / MANIFEST, manifest, indent=1)
