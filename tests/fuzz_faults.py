"""Readers with faults, each of which the fuzzer must notice."""

import os
import time
from multiprocessing.connection import Connection
from pathlib import Path

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
    Path(os.environ.get("FUZZ_HANGS", os.devnull)).touch()
    time.sleep(600)


class Dies(_Faulty):
  name = "dies"

  def read(self, candidate):
    os._exit(9)


class Leaves(_Faulty):
  """Dies after its result, when it asks for the next task."""

  name = "leaves"

  def read(self, candidate):
    Connection.recv = lambda connection: os._exit(9)


class Ignores(_Faulty):
  """Dies after its result, when the next task is there and is not read."""

  name = "ignores"

  def read(self, candidate):
    Connection.recv = lambda connection: (connection.poll(None), os._exit(9))


class Raises(_Faulty):
  name = "raises"

  def read(self, candidate):
    {}["of no such name"]


class Fills(_Faulty):
  name = "fills"

  def read(self, candidate):
    self.much = b"x" * (300 << 20)


def readers():
  faults = Hangs, Dies, Leaves, Ignores, Raises, Fills
  return {reader.name: reader for reader in (Fine, *faults)}
