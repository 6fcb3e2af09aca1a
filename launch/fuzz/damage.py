"""Damage to the bytes of a file, and to a file in a folder."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

_EXTREMES = (0, 1, -1, 127, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)
_EXTREMES_64 = (*_EXTREMES, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)


def _position(rng: random.Random, size: int) -> int:
  """A position in [0, size]; headers and ends are hit more often."""
  kind = rng.random()
  if kind < 0.35:
    return rng.randint(0, min(size, 128))
  if kind < 0.5:
    return size - rng.randint(0, min(size, 128))
  return rng.randint(0, size)


def _flip(rng: random.Random, data: bytearray, other: bytes) -> None:
  del other
  for _ in range(rng.choice((1, 1, 2, 8, 64))):
    if data:
      data[min(_position(rng, len(data)), len(data) - 1)] ^= 1 << rng.randrange(
        8
      )


def _bytes(rng: random.Random, data: bytearray, other: bytes) -> None:
  del other
  for _ in range(rng.choice((1, 1, 2, 8))):
    if data:
      at = min(_position(rng, len(data)), len(data) - 1)
      data[at] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))


def _truncate(rng: random.Random, data: bytearray, other: bytes) -> None:
  del other
  del data[_position(rng, len(data)) :]


def _insert(rng: random.Random, data: bytearray, other: bytes) -> None:
  del other
  at = _position(rng, len(data))
  data[at:at] = rng.randbytes(rng.choice((1, 2, 4, 8, 100)))


def _delete(rng: random.Random, data: bytearray, other: bytes) -> None:
  del other
  at = _position(rng, len(data))
  del data[at : at + rng.choice((1, 2, 4, 8, 100, 1000))]


def _zeros(rng: random.Random, data: bytearray, other: bytes) -> None:
  del other
  at = _position(rng, len(data))
  size = min(rng.choice((4, 16, 512, 4096)), len(data) - at)
  data[at : at + size] = bytes(size)


def _swap(rng: random.Random, data: bytearray, other: bytes) -> None:
  del other
  size = rng.choice((1, 4, 16, 256))
  a, b = (_position(rng, max(0, len(data) - size)) for _ in range(2))
  data[a : a + size], data[b : b + size] = (
    data[b : b + size],
    data[a : a + size],
  )


def _splice(rng: random.Random, data: bytearray, other: bytes) -> None:
  at = _position(rng, len(data))
  data[at:] = other[_position(rng, len(other)) :]


def _number(rng: random.Random, data: bytearray, other: bytes) -> None:
  """A length or a count in the file becomes an extreme one."""
  del other
  size = rng.choice((1, 2, 4, 4, 4, 8, 8))
  value = rng.choice(_EXTREMES_64) % 2 ** (8 * size)
  at = _position(rng, max(0, len(data) - size))
  data[at : at + size] = value.to_bytes(size, rng.choice(("little", "big")))


def _digits(rng: random.Random, data: bytearray, other: bytes) -> None:
  """A number that the file has as text becomes another."""
  del other
  places = [i for i, byte in enumerate(data[:65536]) if 48 <= byte < 58]
  if places:
    at = rng.choice(places)
    text = str(rng.choice((*_EXTREMES_64, -(2**63), "1e400", "NaN", "null")))
    data[at : at + 1] = text.encode()


_KINDS: tuple[Callable[[random.Random, bytearray, bytes], None], ...] = (
  _flip,
  _bytes,
  _truncate,
  _insert,
  _delete,
  _zeros,
  _swap,
  _splice,
  _number,
  _number,
  _digits,
)


def damaged(rng: random.Random, data: bytes, other: bytes = b"") -> bytes:
  """The bytes with one to three kinds of damage.

  Args:
    rng: decides which.
    data: of a valid file.
    other: of another valid file, to splice from.

  Returns:
    The damaged bytes; empty in a few cases.
  """
  if rng.random() < 0.01:
    return b""
  changed = bytearray(data)
  for _ in range(rng.choice((1, 1, 1, 2, 3))):
    rng.choice(_KINDS)(rng, changed, other or data)
  return bytes(changed)


def damage_file(
  rng: random.Random, path: Path, others: Sequence[Path] = ()
) -> None:
  """Damages a file in place, or removes it, or puts another in its place."""
  kind = rng.random()
  content = path.read_bytes()
  other = rng.choice(others).read_bytes() if others else content
  if kind < 0.04:
    path.unlink()
  elif kind < 0.08:
    path.unlink()
    path.mkdir()
  elif kind < 0.12:
    path.write_bytes(other)
  else:
    path.write_bytes(damaged(rng, content, other))
