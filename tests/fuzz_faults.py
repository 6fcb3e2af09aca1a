"""Readers with faults, each of which the fuzzer must notice."""

import os
import time

from launch.fuzz.reader import Reader


class _Faulty(Reader):
  def make(self, rng, folder):
    (folder / "input").write_text(str(rng.random()))
    return folder / "input"


class Fine(_Faulty):
  name = "fine"

  def read(self, candidate):
    assert candidate.exists()


class Hangs(_Faulty):
  name = "hangs"

  def read(self, candidate):
    time.sleep(600)


class Dies(_Faulty):
  name = "dies"

  def read(self, candidate):
    os._exit(9)


class Raises(_Faulty):
  name = "raises"

  def read(self, candidate):
    {}["of no such name"]


class Fills(_Faulty):
  name = "fills"

  def read(self, candidate):
    self.much = b"x" * (300 << 20)


def readers():
  return {r.name: r for r in (Fine, Hangs, Dies, Raises, Fills)}
