"""What a reader under test is, and what reading one input may come to."""

import abc
import random
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

REFUSED, SKIPPED, READ, FAILED = "refused", "skipped", "read", "failed"


class Reader(abc.ABC):
  """Makes inputs of one kind, and reads them with the real code.

  Attributes:
    name: of the reader, for --only.
    share: inputs of it for each input of the others; below 1 if it is slow.
  """

  name: ClassVar[str]
  share: ClassVar[float] = 1.0

  def __init__(self, seeds: Path) -> None:
    """Makes valid inputs, once; `seeds` is an empty folder for them."""
    self.seeds = seeds

  @abc.abstractmethod
  def make(self, rng: random.Random, folder: Path) -> Any:
    """Writes an input into an empty folder; returns what `read` takes."""

  @abc.abstractmethod
  def read(self, candidate: Any) -> None:
    """Reads it; a UserError refuses it, an AssertionError is a wrong result."""


class Result(NamedTuple):
  """What came of one input.

  Attributes:
    reader: its name.
    number: of the input.
    outcome: REFUSED, SKIPPED (read with a warning), READ or FAILED.
    detail: the message, or the traceback of a failure.
    seconds: that reading took.
    mebibytes: of memory that reading took at most.
  """

  reader: str
  number: int
  outcome: str
  detail: str
  seconds: float
  mebibytes: float


def random_of(seed: int, reader: str, number: int) -> random.Random:
  """All of the chance in one input."""
  return random.Random(f"{seed}/{reader}/{number}")
