"""Reads a compiled program's HLO text: expected cycles and collectives.

XLA's TPU compiler writes the cycles that it expects of an operation into the
program, as "estimated_cycles". A sum over the program multiplies those of a
loop by how often it runs, and takes the most expensive branch of a conditional.
Collectives and copies between memories have no such estimate.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

_BYTES = {
  "pred": 1,
  "s8": 1,
  "u8": 1,
  "s16": 2,
  "u16": 2,
  "bf16": 2,
  "f16": 2,
  "s64": 8,
  "u64": 8,
  "f64": 8,
}
_WORD = 4  # Of f32, s32 and u32.
COLLECTIVES = (
  "all-reduce",
  "all-gather",
  "reduce-scatter",
  "all-to-all",
  "ragged-all-to-all",
  "collective-permute",
)
# Custom calls that mark or rename a value, and compute nothing.
_FREE = ("AssumeGatherIndicesInBound", "ConcatBitcast", "AllocateBuffer")

_HEAD = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_INSTRUCTION = re.compile(r" = (.*?) ([a-z][a-z\-]*)\(")
_ARRAY = re.compile(r"([a-z]\w*)\[([\d,]*)\]")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_NAME = re.compile(r'op_name="([^"]*)"')
_TARGET = re.compile(r'custom_call_target="([^"]*)"')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_CALLS = re.compile(r"(?:calls|to_apply)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_BRANCH = re.compile(r"(?:true|false)_computation=%?([\w.\-]+)")
_LOOP = re.compile(r"condition=%?([\w.\-]+), body=%?([\w.\-]+)")


class Operation(NamedTuple):
  """An operation of the program.

  Attributes:
    name: where in the code it comes from, JAX's "op_name".
    shape: type and shape of its result, or of the first of several.
    loops: how often each loop around it runs, the outermost first.
  """

  name: str
  shape: str
  loops: tuple[int, ...]


class Estimate(NamedTuple):
  """What one run of a program is expected to cost one device.

  Attributes:
    cycles: of each operation, all its runs together.
    moved: kind of collective -> bytes of its results, all runs together.
    unknown: targets of custom calls that have no estimate, and their runs.
  """

  cycles: Counter[Operation]
  moved: Counter[str]
  unknown: Counter[str]

  def total(self) -> int:
    """Cycles of the whole program."""
    return self.cycles.total()

  def sent(self, parts: int) -> int:
    """Bytes that a device sends for the collectives, in the limit of many.

    A sum is sent twice: to be added, and when it is complete.

    Args:
      parts: into which a reduce-scatter scatters its sum.
    """
    times = {"all-reduce": 2, "reduce-scatter": parts}
    return sum(times.get(kind, 1) * n for kind, n in self.moved.items())


def estimate(text: str) -> Estimate:
  """The cost of a program.

  Args:
    text: its HLO, as of `jax.stages.Compiled.as_text`.

  Returns:
    The cost; without cycles if the compiler estimated none, as on GPUs.

  Raises:
    ValueError: the text is no HLO module.
  """
  entry, computations = _computations(text)
  found = Estimate(Counter(), Counter(), Counter())
  _walk(computations, entry, (), found)
  return found


def trip_count(line: str, condition: list[str]) -> int:
  """How often a loop runs.

  Args:
    line: the `while` operation.
    condition: the lines of its condition, and of what that calls.

  Returns:
    The count that XLA knows, if it does; otherwise the largest constant of the
    condition, as JAX's scans count from 0 to it; 1 if there is none.
  """
  known = _TRIPS.search(line)
  if known:
    return int(known[1])
  constants = re.findall(r" constant\((\d+)\)", "\n".join(condition))
  return max(map(int, constants), default=1)


def _computations(text: str) -> tuple[str, dict[str, list[str]]]:
  """The name of the entry computation, and the lines of each."""
  found: dict[str, list[str]] = {}
  lines: list[str] | None = None
  entry = ""
  for line in text.splitlines():
    head = _HEAD.match(line)
    if head:
      lines = found.setdefault(head[2], [])
      entry = head[2] if head[1] else entry
    elif line.startswith("}"):
      lines = None
    elif lines is not None:
      lines.append(line)
  if not entry:
    raise ValueError("the text is no HLO module: it has no entry computation")
  return entry, found


def _walk(
  computations: dict[str, list[str]],
  name: str,
  loops: tuple[int, ...],
  found: Estimate,
) -> None:
  """Adds the cost of a computation within these loops to `found`."""
  times = 1
  for count in loops:
    times *= count
  for line in computations[name]:
    instruction = _INSTRUCTION.search(line)
    if instruction is None:
      continue
    results, kind = instruction[1], instruction[2]
    if kind == "while":
      condition, body = _LOOP.search(line).groups()  # type: ignore[union-attr]
      lines = list(_reached(computations, condition))
      _walk(computations, body, (*loops, trip_count(line, lines)), found)
    elif kind == "conditional":
      branch = _dearest(computations, _branches(line), loops)
      found.cycles.update(branch.cycles)
      found.moved.update(branch.moved)
      found.unknown.update(branch.unknown)
    elif kind in ("call", "async-start"):
      for inner in _CALLS.findall(line):
        _walk(computations, inner, loops, found)
    collective = kind.removesuffix("-start")
    if collective in COLLECTIVES:
      found.moved[collective] += times * _size(results, kind)
    cycles = _CYCLES.search(line)
    if cycles:
      found.cycles[_operation(line, results, loops)] += times * int(cycles[1])
    elif kind == "custom-call":
      (target,) = _TARGET.findall(line)
      if target not in _FREE:
        found.unknown[target] += times


def _reached(computations: dict[str, list[str]], name: str) -> Iterator[str]:
  """The lines of a computation and of those that it calls."""
  for line in computations[name]:
    yield line
    for inner in _CALLS.findall(line):
      yield from _reached(computations, inner)


def _branches(line: str) -> list[str]:
  """The computations of a conditional."""
  many = _BRANCHES.search(line)
  if many:
    return [name.strip().lstrip("%") for name in many[1].split(",")]
  return _BRANCH.findall(line)


def _dearest(
  computations: dict[str, list[str]],
  names: list[str],
  loops: tuple[int, ...],
) -> Estimate:
  """The cost of the most expensive branch."""
  costs = []
  for name in names:
    cost = Estimate(Counter(), Counter(), Counter())
    _walk(computations, name, loops, cost)
    costs.append(cost)
  return max(costs, key=lambda cost: (cost.total(), cost.moved.total()))


def _size(results: str, kind: str) -> int:
  """Bytes of an operation's results.

  An asynchronous start returns its operands before the results; a permute's
  also two numbers of its own after them.
  """
  arrays = _ARRAY.findall(results)
  sizes = []
  for dtype, sides in arrays:
    count = 1
    for side in filter(None, sides.split(",")):
      count *= int(side)
    sizes.append(count * _BYTES.get(dtype, _WORD))
  if not kind.endswith("-start") or not results.startswith("("):
    return sum(sizes)
  if kind == "all-reduce-start":  # It returns the results alone.
    return sum(sizes)
  if kind == "collective-permute-start":
    sizes = [
      size for size, (_, sides) in zip(sizes, arrays, strict=True) if sides
    ]
  return sum(sizes[len(sizes) // 2 :])


def _operation(line: str, results: str, loops: tuple[int, ...]) -> Operation:
  name = _NAME.search(line)
  array = _ARRAY.search(results)
  return Operation(
    name[1] if name else line.split(" = ")[0].strip().lstrip("%"),
    f"{array[1]}[{array[2]}]" if array else "",
    loops,
  )
