"""What a field of a config may hold, and how a flag says it."""

import ast
import math
from collections.abc import Callable
from typing import Any, NamedTuple


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
    if self.is_text:
      return text
    try:
      return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
      pass
    try:
      return float(text)  # "inf" is no literal.
    except ValueError:
      return {"true": True, "false": False}.get(text.lower(), text)


def integer(low: int, high: float = math.inf) -> Rule:
  """An int from `low` to `high`."""
  top = "" if high == math.inf else f" and at most {high}"
  return Rule(
    f"an integer of at least {low}{top}",
    lambda v: _is_int(v) and low <= v <= high,
  )


def number(low: float = -math.inf, high: float = math.inf) -> Rule:
  """A number from `low` to `high`."""
  top = "" if high == math.inf else f" and at most {high:g}"
  return Rule(
    f"a number of at least {low:g}{top}",
    lambda v: _is_number(v) and low <= v <= high,
  )


def choice(*options: str) -> Rule:
  """One of the options."""
  expected = f"one of {', '.join(options)}"
  return Rule(expected, lambda v: v in options, is_text=True)


def sequence(item: Rule, length: int | None = None) -> Rule:
  """A tuple of items, of a given length if one is given."""
  count = "" if length is None else f"{length} "
  return Rule(
    f"a tuple of {count}values as in (a, b), each {item.expected}",
    lambda v: (
      isinstance(v, tuple)
      and length in (None, len(v))
      and all(map(item.fits, v))
    ),
  )


def _is_int(value: Any) -> bool:
  return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
  return _is_int(value) or (isinstance(value, float) and value == value)


text = Rule("a text", lambda v: isinstance(v, str), is_text=True)
flag = Rule("True or False", lambda v: isinstance(v, bool))
positive = Rule("a number above 0", lambda v: _is_number(v) and v > 0)
# Metrics of one image do not exist.
image_count = Rule(
  "an integer of at least 2, or 0 for none",
  lambda v: _is_int(v) and v >= 0 and v != 1,
)
