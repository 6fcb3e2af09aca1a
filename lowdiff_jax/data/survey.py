"""Which files of a set are images, and what is known of each.

Every image is decoded once, in threads. What was found is kept and holds for
each file as long as its name, size and time do.
"""

import collections
import json
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from absl import logging
from PIL import Image

from lowdiff_jax import console, files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.data import pipeline
from lowdiff_jax.data.decode import DecodeError, Decoder, is_image
from lowdiff_jax.data.file_set import LABELS, FileSet, Stamp
from lowdiff_jax.distributed import is_main
from lowdiff_jax.reading import reason
from lowdiff_jax.types import UserError

# Changes with what is kept.
VERSION = 2
# Files that a thread looks at before the bar moves.
CHUNK = 64
# Names in one line of a warning.
NAMED = 5


class Facts(NamedTuple):
  """What is known of a file.

  Attributes:
    width: of the upright image.
    height: of it.
    channels: 1 or 3.
    problem: why it cannot be decoded; "" if it can.
  """

  width: int
  height: int
  channels: int
  problem: str


def read_image(file_set: FileSet, name: str, decoder: Decoder) -> Image.Image:
  """The decoded image of a file; `DecodeError` says why there is none."""
  # Of a damaged zip a file may claim to be of any size.
  if file_set.stamps[name].size > 16 * decoder.max_pixels:
    raise DecodeError(
      f"the file is too large for data.max_pixels = {decoder.max_pixels}"
    )
  try:
    with file_set.open(name) as file:
      return decoder.decode(file)
  except DecodeError:
    raise
  except Exception as error:  # Of a damaged zip, or of the file system.
    raise DecodeError(reason(error)) from error


def survey(
  file_set: FileSet, decoder: Decoder, kept: AnyPath | None = None
) -> dict[str, Facts]:
  """Looks at all images; what is no image or unreadable is counted and named.

  An unreadable image is tried again at the next start.

  Args:
    file_set: the files.
    decoder: of the images.
    kept: where the result is kept; None to keep none.

  Returns:
    What is known of each image that can be decoded, by name, sorted.
  """
  names = [name for name in file_set.stamps if is_image(name)]
  name_others(file_set)
  known = _read(kept, file_set, decoder) if kept else {}
  new = [name for name in names if name not in known]
  if new:
    found = _look(file_set, new, decoder)
    known.update(zip(new, found, strict=True))
  _name_problems(file_set, {name: known[name].problem for name in names})
  good = {name: known[name] for name in names if not known[name].problem}
  if kept and is_main() and any(name in good for name in new):
    _keep(kept, file_set, decoder, good)
  return good


def _look(
  file_set: FileSet, names: Sequence[str], decoder: Decoder
) -> Iterator[Facts]:
  def one(name: str) -> Facts:
    try:
      image = read_image(file_set, name, decoder)
    except DecodeError as error:
      return Facts(0, 0, 0, str(error))
    channels = 1 if image.mode == "L" else 3
    return Facts(image.width, image.height, channels, "")

  def chunk(start: int) -> list[Facts]:
    return list(map(one, names[start : start + CHUNK]))

  what = f"looking at {file_set.root.name}"
  with console.Progress(what, len(names), delay=1) as bar:
    for facts in pipeline.in_threads(chunk, range(0, len(names), CHUNK)):
      bar.update(len(facts))
      yield from facts


def _header(file_set: FileSet, decoder: Decoder) -> dict[str, Any]:
  """What the result depends on besides the files."""
  return {
    "version": VERSION,
    "root": str(file_set.root.absolute()),
    "background": list(decoder.background),
    "max_pixels": decoder.max_pixels,
  }


def _read(
  kept: AnyPath, file_set: FileSet, decoder: Decoder
) -> dict[str, Facts]:
  """What is kept of files that are the same; a damaged file is none."""
  try:
    record = json.loads(kept.read_text())
    if record["header"] != _header(file_set, decoder):
      return {}
    known = {
      name: Facts(*facts)
      for name, (size, mark, *facts) in record["files"].items()
      if file_set.stamps.get(name) == Stamp(size, mark)
    }
  except Exception:  # A damaged file can fail in any way.
    return {}
  return known if all(map(_are_facts, known.values())) else {}


def _are_facts(facts: Facts) -> bool:
  *numbers, problem = facts
  are_sizes = all(type(number) is int and number > 0 for number in numbers)
  return are_sizes and facts.channels in (1, 3) and problem == ""


def _keep(
  kept: AnyPath, file_set: FileSet, decoder: Decoder, known: dict[str, Facts]
) -> None:
  rows = {name: [*file_set.stamps[name], *f] for name, f in known.items()}
  record = {"header": _header(file_set, decoder), "files": rows}
  try:
    files.make_folder(kept.parent)
    files.write_text(kept, json.dumps(record))
  except (OSError, UserError) as error:
    logging.warning("the survey of %s is not kept: %s", file_set.root, error)


def name_others(file_set: FileSet) -> None:
  """Counts and names the files that are no images, in a warning."""
  others = [name for name in file_set.stamps if not is_image(name)]
  others = [name for name in others if PurePosixPath(name).name != LABELS]
  if others and is_main():
    kinds = collections.Counter(
      PurePosixPath(name).suffix or "without suffix" for name in others
    )
    listed = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common(NAMED))
    logging.warning(
      "left out %d files of %s that are no images (%s), the first is %s",
      *(len(others), file_set.root, listed, others[0]),
    )


def _name_problems(file_set: FileSet, problems: dict[str, str]) -> None:
  wrong = {name: text for name, text in problems.items() if text}
  if wrong and is_main():
    named = "; ".join(f"{n} ({wrong[n]})" for n in list(wrong)[:NAMED])
    more = len(wrong) - NAMED
    logging.warning(
      "skipped %d unreadable images of %s: %s%s",
      *(len(wrong), file_set.root, named),
      f"; and {more} more" if more > 0 else "",
    )
