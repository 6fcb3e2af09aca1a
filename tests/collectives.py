"""What a compiled program moves between devices."""

import contextlib
import math
import re
from typing import NamedTuple

import jax
from jax.experimental.compilation_cache import compilation_cache

_BYTES = {"f64": 8, "s64": 8, "u64": 8, "bf16": 2, "f16": 2, "s8": 1, "u8": 1}
_BYTES["pred"] = 1
_OPERATION = re.compile(
  r" = (.*?) (all-reduce|all-gather|reduce-scatter|all-to-all|"
  r"collective-permute|collective-broadcast)(-start)?\("
)


class Collective(NamedTuple):
  """One operation: its kind, the bytes of its result, and if a loop has it."""

  kind: str
  bytes: int
  in_loop: bool


def collectives(compiled):
  """All collectives of a compiled program."""
  bodies, name = {}, None
  for line in compiled.as_text().splitlines():
    if line.endswith("{") and not line.startswith(" "):
      name = line.removeprefix("ENTRY ").lstrip("%").split()[0]
    bodies.setdefault(name, []).append(line)
  loops = set()
  for lines in bodies.values():
    for line in filter(re.compile(r" while\(").search, lines):
      _reach(line, bodies, loops)
  return [
    Collective(operation[2], _size(operation), name in loops)
    for name, lines in bodies.items()
    for operation in filter(None, map(_OPERATION.search, lines))
  ]


def _reach(line, bodies, seen):
  """Adds the computations that a line calls, and those that they call."""
  for name in re.findall(r"%([\w.\-]+)", line):
    if name in bodies and name not in seen:
      seen.add(name)
      for inner in bodies[name]:
        _reach(inner, bodies, seen)


def _size(operation):
  sizes = [
    math.prod(map(int, filter(None, sides.split(",")))) * _BYTES.get(kind, 4)
    for kind, sides in re.findall(r"(\w+)\[([\d,]*)\]", operation[1])
  ]
  # The start of an asynchronous one has its operands before its results.
  return sum(sizes[len(sizes) // 2 :] if operation[3] else sizes)


@contextlib.contextmanager
def without_cache(wanted):
  """Compiles without JAX's persistent cache, if wanted."""
  jax.config.update("jax_enable_compilation_cache", not wanted)
  compilation_cache.reset_cache()  # JAX asks but once whether it is enabled.
  try:
    yield
  finally:
    jax.config.update("jax_enable_compilation_cache", True)
    compilation_cache.reset_cache()
