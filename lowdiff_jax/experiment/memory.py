"""Memory that does not suffice: how much was needed, and what to lower."""

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any

import jax
from ml_collections import ConfigDict

from lowdiff_jax.experiment.schema import leaves, stage_names
from lowdiff_jax.types import UserError

_UNITS = " KMGTPE"
_SIZE = r"([\d.]+) ?(([KMGTPE])i?B?|bytes)"
_LACK = re.compile(r"RESOURCE_EXHAUSTED|[Oo]ut of memory")
# In the errors of XLA on CPU, GPU and TPU, and of NumPy.
_NEEDED = re.compile(
  rf"(?:[Aa]llocat(?:e|ing)|Used|total memory required for [\w ]+) \(?{_SIZE}"
)
_FREE = re.compile(
  rf"(?:(?:[Tt]here (?:are|is)|of) |available HBM \(){_SIZE}(?: free| hbm|\))"
)


@contextlib.contextmanager
def or_lower(config: ConfigDict, *fields: str) -> Iterator[None]:
  """Turns a lack of memory into a UserError.

  Args:
    config: the config.
    *fields: of it, whose lower values need less memory.

  Raises:
    UserError: the memory of the device or of the host does not suffice.
  """
  try:
    yield
  except (MemoryError, jax.errors.JaxRuntimeError) as error:
    text = str(error)
    if not isinstance(error, MemoryError) and not is_lack(text):
      raise
    values = leaves(config)
    ways = [f"lower config.{name} = {values[name]}" for name in fields]
    if any(name.startswith("stages.") for name in fields):
      ways += _of_the_network(values)
    ways = ways or ["use a smaller config, or a machine with more"]
    raise UserError(
      f"out of memory{_sizes(text)}: {', or '.join(ways)}"
    ) from error


def of_training(config: ConfigDict) -> list[str]:
  """The fields that decide on the memory of a training step, largest first."""
  fields = [f"stages.{name}.batch_size" for name in stage_names(config)]
  return sorted(fields, key=lambda name: -leaves(config)[name])


def of_sampling(config: ConfigDict) -> list[str]:
  """The fields that decide on the memory of sampling."""
  decoding = config.data.space == "latents"
  return ["sampling.batch_size", *["autoencoder.batch_size"] * decoding]


def of_mode(mode: str, config: ConfigDict) -> list[str]:
  """The fields that decide on the memory of a mode, but for training."""
  sampling = of_sampling(config)
  scoring = [*sampling, "evaluation.batch_size"]
  return {
    "train": scoring,
    "sample": sampling,
    "upscale": sampling,
    "evaluate": scoring,
    "sweep": [*scoring, "benchmark.batch_size"],
    "tune": [*scoring, "benchmark.batch_size"],
    "benchmark": ["benchmark.batch_size", *of_training(config)],
    "encode": ["autoencoder.batch_size"],
  }.get(mode, [])


def _of_the_network(values: dict[str, Any]) -> list[str]:
  """What helps in training beside smaller batches."""
  ways = [f"raise config.train.microbatches = {values['train.microbatches']}"]
  if values.get("model.remat", "full") != "full":
    ways.append("set config.model.remat = full")
  if values["mesh.fsdp"] in (0, 1) and jax.device_count() > 1:
    ways.append(f"set config.mesh.fsdp = {jax.device_count()}")
  return ways


def is_lack(text: str) -> bool:
  """Whether an error of XLA's is a lack of memory."""
  return bool(_LACK.search(text))


def sizes(text: str) -> tuple[float | None, float | None]:
  """Bytes that were needed, and bytes that there are, by an error of XLA's."""
  return _bytes(_NEEDED, text), _bytes(_FREE, text)


def _sizes(text: str) -> str:
  """What was needed and what there is, as far as that is known."""
  needed, free = sizes(text)
  if needed is None:
    return ""
  if free is None:
    free = _free()
  # Of another kind of memory, or in pieces.
  said = f", {readable(free)} available" if free < needed else ""
  return f" ({readable(needed)} needed{said})"


def _free() -> float:
  """Bytes of the first device, or of the host whose memory it shares."""
  device = jax.local_devices()[0]
  stats = device.memory_stats() or {}
  if "bytes_limit" in stats:
    return float(stats["bytes_limit"] - stats["bytes_in_use"])
  return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def _bytes(pattern: re.Pattern[str], text: str) -> float | None:
  found = pattern.search(text)
  if found is None:
    return None
  return float(found[1]) * 1024 ** _UNITS.index(found[3] or " ")


def readable(size: float) -> str:
  """Bytes in the largest unit of which there is one: "15.8 GiB"."""
  power = 0
  while size >= 1024 and power < len(_UNITS) - 1:
    size, power = size / 1024, power + 1
  return f"{size:.1f} {_UNITS[power].strip()}{'iB' if power else 'B'}"
