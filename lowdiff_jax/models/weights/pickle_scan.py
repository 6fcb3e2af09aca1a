"""Refuses pickles that are small and yet fill the memory or never end.

A pickle may name a place in its memo that a table of gigabytes must reach, or
hold a tuple of twice a tuple of twice a tuple ...: to hash one of 60 levels
takes longer than anyone waits.
"""

import pickle
import pickletools
from typing import IO, Any

# Parts of an object, each counted as often as it is reached.
_PARTS = 10_000_000
_PUTS = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
_GETS = {"GET", "BINGET", "LONG_BINGET"}
_CHANGES = {"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"}


def scan(file: IO[bytes]) -> None:
  """Looks through the pickle that begins here; the position stays.

  Args:
    file: that can seek.

  Raises:
    UnpicklingError: it must not be unpickled.
    ValueError: it is damaged.
  """
  start = file.tell()
  # The number of parts of each object, in a list as it may change; None: mark.
  stack: list[Any] = []
  memo: dict[int, list[int]] = {}
  for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
    if opcode.name in _PUTS:
      place = len(memo) if argument is None else argument
      if place > count:
        raise pickle.UnpicklingError("its memo has more places than it can use")
      memo[place] = stack[-1]
    elif opcode.name in _GETS and argument is not None:
      stack.append(memo[argument])
    elif opcode.name == "DUP":
      stack.append(stack[-1])
    elif opcode.name == "MARK":
      stack.append(None)
    else:
      taken = _taken(stack, opcode)
      parts = sum(node[0] for node in taken if node)
      if opcode.name in _CHANGES:
        taken[-1][0] = parts
        stack.append(taken[-1])
      elif opcode.stack_after:
        stack.append([max(1, parts)])
      if parts > _PARTS:
        raise pickle.UnpicklingError("an object in it has too many parts")
  file.seek(start)


def _taken(stack: list[Any], opcode: pickletools.OpcodeInfo) -> list[Any]:
  """Takes from the stack what an opcode takes, the last of it first."""
  taken, below = [], opcode.stack_before
  if pickletools.markobject in below:
    while stack[-1] is not None:
      taken.append(stack.pop())
    stack.pop()
    below = below[: below.index(pickletools.markobject)]
  return taken + [stack.pop() for _ in below]
