"""What a field of a config may hold, in a few words."""

from collections.abc import Callable
from typing import Any

# A rule says what a value should have been, or "" if it is fine.
Rule = Callable[[Any], str]


def text(value: Any) -> str:
  """A str."""
  return "" if isinstance(value, str) else "a text"


def flag(value: Any) -> str:
  """A bool."""
  return "" if isinstance(value, bool) else "True or False"


def integer(low: int) -> Rule:
  """An int of at least `low`."""

  def rule(value):
    fine = isinstance(value, int) and not isinstance(value, bool)
    return "" if fine and value >= low else f"an integer of at least {low}"

  return rule


def several(value: Any) -> str:
  """How many pictures to score: 0 for none, and one alone has no statistics."""
  fine = integer(0)(value) == "" and value != 1
  return "" if fine else "an integer of at least 2, or 0 for none"


def number(
  low: float,
  high: float = float("inf"),
  *,
  above: bool = False,
  below: bool = False,
) -> Rule:
  """A number from `low` (or `above` it) to `high` (or `below` it)."""

  def rule(value):
    fine = isinstance(value, (int, float)) and not isinstance(value, bool)
    fine = fine and (low < value if above else low <= value)
    if fine and (value < high if below else value <= high):
      return ""
    limit = "below" if below else "at most"
    top = "" if high == float("inf") else f" and {limit} {high:g}"
    return f"a number {'above' if above else 'of at least'} {low:g}{top}"

  return rule


def choice(*options: str) -> Rule:
  """One of the options."""
  return lambda value: (
    "" if value in options else f"one of {', '.join(options)}"
  )


def sequence(item: Rule, length: int | None = None) -> Rule:
  """A tuple of items, of a given length if one is given."""

  def rule(value):
    if not isinstance(value, tuple) or length not in (None, len(value)):
      count = "" if length is None else f"{length} "
      return f"a tuple of {count}values, as in (a, b)"
    wrong = [item(v) for v in value if item(v)]
    return f"a tuple, each value {wrong[0]}" if wrong else ""

  return rule


class PerStage:
  """A tuple with one value for each stage."""

  def __init__(self, item: Rule):
    self.rule = sequence(item)


real = number(-float("inf"))
positive = number(0, above=True)
