"""Values of fields, config.json, and the config in a checkpoint's meta."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np

from launch.fuzz.archives import odd_json
from launch.fuzz.damage import damage_file
from launch.fuzz.reader import Reader
from lowdiff_jax.experiment import identity
from lowdiff_jax.experiment.fields import SCHEMA
from lowdiff_jax.experiment.overrides import override, parse_flags, read_page
from lowdiff_jax.experiment.sampling import sampling_stages
from lowdiff_jax.experiment.schema import leaves

_CONFIGS = Path(__file__).parents[3] / "configs"
_TEXTS = (
  *("", " ", "0", "-1", "1", "2", "7", "nan", "inf", "-inf", "1e400", "1e308"),
  *("1e-400", "1e-320", "5e-324", "True", "false", "None", "()", "(1,)"),
  *("(1.0, 2.0)", "(2.0, 1.0)", "(nan, 1)", "(1e400, 1)", "[1, 2]", "{1, 2}"),
  *("{}", "{1: 2}", "b'a'", "1j", "1_000", "0x10", "١٢", "½", "\x00", "\n"),
  *("'a", "a\nb", "\x1b[31m", "\ud800", "9" * 30, "9" * 5000, "1" + "0" * 400),
  *("(" * 50, "(" * 5000, "(" * 100_000, "[" * 90 + "]" * 90, "-" * 5000 + "1"),
  *("a" * 100_000, "(1," * 60 + ")" * 60, "(" + "1," * 100_000 + ")", "..."),
  *("10**10", "__import__('os')", "1e9", "1000000000", "3000000000", "2**63"),
  *(str(2**31), str(2**63), str(2**64), str(-(2**63)), "0.5", "1e-9", "12345"),
  *("((3, 2), (2, 1))", "((3,), 2)", "('heun',)", "heun", "noise", "handoff"),
  *("lambda: 1", "0777", "0b1", "1.", ".5", "+1", "--1", "f'{1}'", "1 if 1"),
)

_NAMES = (
  *("", ".", "stages", "stages.s8", "stages.s².steps", "stages.s8.", "a"),
  *("stages.s99999999999.steps", "model", "a" * 5000, "\n", "sampling."),
)


def _usable(config: Any) -> None:
  """What an accepted config must be good for."""
  for stage in sampling_stages(config):
    sigmas = np.asarray(stage.sigmas)
    assert np.isfinite(sigmas).all(), sigmas[:5]
    single = sigmas.astype(np.float32)  # What the samplers compute with.
    assert (np.diff(single) < 0).all(), "noise levels do not fall"
    assert stage.nfe >= stage.steps
    json.dumps(stage.to_json())
  record = json.loads(json.dumps(identity.to_json(config)))
  again = leaves(identity.from_json(record))
  assert again == leaves(config), "it is another after JSON"


class Fields(Reader):
  """Texts for fields of the pages."""

  name = "config.flags"

  def __init__(self, seeds: Path) -> None:
    super().__init__(seeds)
    self._pages = []
    for path in sorted(_CONFIGS.glob("*.py")):
      page = read_page(str(path))
      former = [f.formerly for _, f, _ in SCHEMA.everything() if f.formerly]
      names = [*leaves(page), *former, "stages.consistency", "baseline.order"]
      self._pages.append((page, names))

  def make(
    self, rng: random.Random, folder: Path
  ) -> tuple[Any, list[tuple[str, str]]]:
    """A page and flags for it."""
    page, names = rng.choice(self._pages)
    flags = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
      name = rng.choice(names)
      if rng.random() < 0.02:
        name = rng.choice(_NAMES)
      text = rng.choice(_TEXTS)
      if rng.random() < 0.3:
        text = str(rng.choice((1, -1)) * 10 ** rng.uniform(-12, 12))
      elif rng.random() < 0.2:
        text = str(rng.randrange(2 ** rng.randrange(1, 40)))
      flags.append((name, text))
    (folder / "flags.txt").write_text(repr(flags))
    return page, flags

  def read(self, candidate: tuple[Any, list[tuple[str, str]]]) -> None:
    """Sets the fields; what is accepted can be used."""
    page, flags = candidate
    _usable(override(page, parse_flags(flags, page)))


class File(Reader):
  """A run's config.json."""

  name = "config.json"

  def __init__(self, seeds: Path) -> None:
    super().__init__(seeds)
    self._records = []
    for path in sorted(_CONFIGS.glob("*.py")):
      page = read_page(f"{path}:smoke")
      self._records.append(identity.to_json(override(page, {})))

  def make(self, rng: random.Random, folder: Path) -> Path:
    """A file that is damaged, or whose values are odd."""
    path = folder / "config.json"
    record = rng.choice(self._records)
    for _ in range(rng.choice((0, 1, 1, 2))):
      record = odd_json(rng, record) if record else record
    if isinstance(record, dict) and rng.random() < 0.1:
      stages = record.get("stages")
      name = rng.choice(("s", "s²", "s0", "s-4", "x", "s" + "9" * 30, "s1e3"))
      if isinstance(stages, dict):
        stages[name] = rng.choice((stages.get("s8"), {}, 3))
    path.write_text(json.dumps(record))
    if rng.random() < 0.3:
      path.write_text(rng.choice(("", "[" * 100_000, "{}", "3", '"a"', "null")))
    elif rng.random() < 0.3:
      damage_file(rng, path)
    return path

  def read(self, candidate: Path) -> None:
    """Reads it as a run's folder would; what is accepted can be used."""
    config = identity.read_file(candidate)
    if config is not None:
      _usable(config)


READERS: tuple[type[Reader], ...] = (Fields, File)
