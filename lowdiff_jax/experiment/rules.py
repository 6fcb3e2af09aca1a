"""What a field of a config may hold, and how a flag says it."""

import ast
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lowdiff_jax.schedules.space import MAX_STEPS
from lowdiff_jax.types import UserError

# The largest and the least positive number of float32, in which all is
# computed, and the largest of int32, in which images and steps are counted.
LARGEST, LEAST, MOST = 3.4e38, 1.2e-38, 2**31 - 1
# Of a sequence, and of a flag's text that is not a text.
_LONGEST, _CHARACTERS = 1_000, 10_000


class Rule(NamedTuple):
  """The values that a field may hold.

  Attributes:
    expected: the values, in words.
    fits: whether a value is one of them.
    is_text: whether a flag's text is the value; otherwise it is a literal.
  """

  expected: str
  fits: Callable[[Any], bool]
  is_text: bool = False

  def parse(self, text: str) -> Any:
    """The value that a flag's text stands for; the text if it is no literal."""
    return text if self.is_text else literal(text)

  def check(self, name: str, value: Any) -> None:
    """Raises UserError if what has this name may not hold the value."""
    if not self.fits(value):
      raise UserError(f"{name} = {value!r}: expected {self.expected}")


def literal(text: str) -> Any:
  """The value of a literal; the text itself if it is none, or too long."""
  if len(text) > _CHARACTERS:
    return text
  try:
    return ast.literal_eval(text.strip())
  # Deep nesting is no literal either; nor is {[]: 1}.
  except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
    pass
  try:
    return float(text)  # "inf" is no literal.
  except ValueError:
    return {"true": True, "false": False}.get(text.lower(), text)


def integer(low: int, high: int = MOST) -> Rule:
  """An int from `low` to `high`."""
  top = ", below 2^31" if high == MOST else f" and at most {high:,}"
  return Rule(
    f"an integer of at least {low:,}{top}",
    lambda v: _is_int(v) and low <= v <= high,
  )


def number(low: float = -LARGEST, high: float = LARGEST) -> Rule:
  """A finite number from `low` to `high`."""
  bottom = "" if low == -LARGEST else f" of at least {low:g}"
  expected = f"a number{bottom} and at most {high:g}"
  return Rule(
    f"a finite number{bottom}" if high == LARGEST else expected,
    lambda v: _is_number(v) and low <= v <= high,
  )


def argument(name: str, value: Any, rule: Rule) -> Any:
  """An argument of the library's, checked; NumPy's numbers as Python's."""
  value = value.item() if isinstance(value, np.generic) else value
  rule.check(name, value)
  return value


def choice(*options: str) -> Rule:
  """One of the options."""
  expected = f"one of {', '.join(options)}"
  return Rule(expected, lambda v: v in options, is_text=True)


def image_count(zero: str) -> Rule:
  """An int of at least 2, as metrics of one image do not exist; or 0."""
  return Rule(
    f"an integer of at least 2, or 0 for {zero}",
    lambda v: _is_int(v) and 0 <= v <= MOST and v != 1,
  )


def sequence(
  item: Rule,
  length: int | None = None,
  least: int = 0,
  most: int = _LONGEST,
) -> Rule:
  """A tuple of items: of a given length, or of `least` to `most`."""
  count = "" if length is None else f"{length} "
  if least:
    count = f"at least {least} " if most == _LONGEST else f"{least} to {most} "
  return Rule(
    f"a tuple of {count}values as in (a, b), each {item.expected}",
    lambda v: (
      isinstance(v, tuple)
      and length in (None, len(v))
      and least <= len(v) <= most
      and all(map(item.fits, v))
    ),
  )


def _is_int(value: Any) -> bool:
  return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
  """Whether it is a number of float32's range; what underflows is none."""
  is_real = _is_int(value) or isinstance(value, float)
  return is_real and (value == 0 or LEAST <= abs(value) <= LARGEST)


def _is_interval(value: Any) -> bool:
  return (
    isinstance(value, tuple)
    and len(value) == 2
    and _is_number(value[0])
    and (_is_number(value[1]) or value[1] == math.inf)
    and 0 <= value[0] < value[1]
  )


text = Rule("a text", lambda v: isinstance(v, str), is_text=True)
flag = Rule("True or False", lambda v: isinstance(v, bool))
positive = Rule("a finite number above 0", lambda v: _is_number(v) and v > 0)
positive_or_inf = Rule(
  "a number above 0, or inf for no limit",
  lambda v: positive.fits(v) or (isinstance(v, float) and v == math.inf),
)
below_one = Rule(
  "a number of at least 0 and below 1", lambda v: _is_number(v) and 0 <= v < 1
)
interval = Rule(
  "a tuple (low, high) of numbers of at least 0, low below high", _is_interval
)
# A noise level: its square is computed with.
level = Rule(
  "a number from 1e-6 to 1e6",
  lambda v: _is_number(v) and 1e-6 <= v <= 1e6,
)
steps = integer(1, MAX_STEPS)
step_range = Rule(
  "a tuple (first, last) of steps counted from 1, or (0, 0) for none",
  lambda v: (
    isinstance(v, tuple)
    and len(v) == 2
    and all(map(_is_int, v))
    and (v == (0, 0) or 1 <= v[0] <= v[1] <= MOST)
  ),
)
seed = integer(0, 2**32 - 1)
# A batch is put together before memory could be found not to suffice.
batch_size = integer(1, 2**20)
# Beyond any published network; one without limits would be built without end.
MAX_WIDTH = 16_384
width = integer(4, MAX_WIDTH)
grouped_width = Rule(
  f"a multiple of 32 and at most {MAX_WIDTH:,}",
  lambda v: _is_int(v) and 0 < v <= MAX_WIDTH and v % 32 == 0,
)
multiple = integer(1, 64)
num_blocks = integer(1, 64)
depth = integer(1, 256)
