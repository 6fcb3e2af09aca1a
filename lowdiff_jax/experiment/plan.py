"""Whether a config's programs fit an accelerator, and what makes them fit."""

from collections.abc import Callable, Iterator
from typing import Any

from ml_collections import ConfigDict

from lowdiff_jax import console
from lowdiff_jax.experiment import compiled
from lowdiff_jax.experiment.overrides import as_flags, override
from lowdiff_jax.experiment.schema import leaves
from lowdiff_jax.types import UserError

# As in {"model.remat": "full"}.
Overrides = dict[str, Any]
Record = dict[str, Any]

_PARTS = (2, 4, 8, 16, 32, 64)
# Fields whose k-fold (microbatches) or k-th part (batch size) leaves a k-th of
# the activations.
_MICROBATCHES, _BATCH_SIZE = "train.microbatches", "sampling.batch_size"


def plan(config: ConfigDict) -> Record:
  """Compiles config.plan.programs for config.plan.slice.

  Args:
    config: the config.

  Returns:
    Program -> a record with "as_given" (see `compiled.compile_for`), and, if
    that does not fit, "overrides" that make it fit, None if none were found,
    "with_overrides" and "tried".

  Raises:
    UserError: the config does not go together with that many devices.
  """
  ways = {
    "training": (compiled.training_step, training_overrides),
    "sampling": (compiled.sampler, sampling_overrides),
  }
  return {name: _plan(config, *ways[name]) for name in config.plan.programs}


def _plan(
  config: ConfigDict,
  make: Callable[..., Any],
  ladder: Callable[[ConfigDict, Record], Iterator[Overrides]],
) -> Record:
  given = compiled.compile_for(config, make)
  record: Record = {"as_given": given}
  if given["fits"]:
    return record
  record |= {"overrides": None, "with_overrides": None, "tried": []}
  failed: list[tuple[Overrides, Record]] = [({}, given)]
  for overrides in ladder(config, given):
    if len(failed) > config.plan.tries:
      break
    if not _promising(config, overrides, failed):
      continue
    flags = " ".join(as_flags(overrides))
    console.say(f"that does not fit; next with {flags}")
    try:
      found = compiled.compile_for(override(config, overrides), make)
    except UserError:
      continue  # These values do not go together with this config.
    if found["fits"]:
      return record | {"overrides": overrides, "with_overrides": found}
    failed.append((overrides, found))
    record["tried"].append(
      {"overrides": overrides, "needed_bytes": found["needed_bytes"]}
    )
  return record


def training_overrides(
  config: ConfigDict, given: Record
) -> Iterator[Overrides]:
  """Fields of training that need less memory, by the speed that they cost.

  Parts of the batch one after the other cost least, then activations that are
  computed again, all of them. A sharded state moves every parameter in every
  step, but there is no way around it where the state fills the device; where it
  is sharded already, over more devices costs little.

  Args:
    config: the config.
    given: the record of its own program, which does not fit.

  Yields:
    Values of fields.
  """
  values = leaves(config)
  parts: list[Overrides] = [
    {_MICROBATCHES: values[_MICROBATCHES] * k} for k in _PARTS
  ]
  again: list[Overrides] = []
  if values.get("model.remat", "full") != "full":
    again = [{"model.remat": "full"}]
  bases = [{}, *_sharded(given)]
  share = given["state_bytes"] / given["fsdp"]
  if given["fsdp"] > 1 or share > given["available_bytes"] / 3:
    bases = bases[1:] or bases
  for base in bases:
    steps: list[Overrides] = [{}, *parts[:2]]
    for more in again:
      steps += [more, *(more | part for part in parts)]
    yield from (base | step for step in steps if base | step)
    if not again:
      yield from (base | part for part in parts[2:])


def sampling_overrides(
  config: ConfigDict, given: Record
) -> Iterator[Overrides]:
  """Smaller batches; of a sharded network, if that does not help.

  Args:
    config: the config.
    given: the record of its own program, which does not fit.

  Yields:
    Values of fields that the config has.
  """
  size, devices = given["images"], given["devices"]
  sizes = [size // k for k in _PARTS if size // k >= devices]
  for base in ({}, *_sharded(given)):
    if base:
      yield base
    for part in sizes:
      yield base | {_BATCH_SIZE: part}


def _sharded(given: Record) -> list[Overrides]:
  """The fewest devices with an eighth of their memory for the state, if any."""
  devices, each = given["devices"], given["available_bytes"] / 8
  powers = [
    n for k in range(devices.bit_length()) if (n := 2**k) > given["fsdp"]
  ]
  powers = [n for n in powers if devices % n == 0]
  enough = [n for n in powers if given["state_bytes"] / n <= each]
  return [{"mesh.fsdp": n} for n in (enough or powers[-1:])[:1]]


def _promising(
  config: ConfigDict,
  overrides: Overrides,
  failed: list[tuple[Overrides, Record]],
) -> bool:
  """Whether it may fit, if activations shrink with the parts of the batch."""
  count, rest = _split(config, overrides)
  for other, record in failed:
    other_count, other_rest = _split(config, other)
    needed = record["needed_bytes"]
    if other_rest != rest or needed is None:
      continue
    state = record["state_bytes"] / overrides.get(
      "mesh.fsdp", failed[0][1]["fsdp"]
    )
    activations = max(0.0, needed - state) * other_count / count
    if state + activations > record["available_bytes"]:
      return False
  return True


def _split(config: ConfigDict, overrides: Overrides) -> tuple[float, Overrides]:
  """Into how many parts the batch is divided, and the other fields."""
  rest, values = dict(overrides), leaves(config)
  parts = 1.0
  if _MICROBATCHES in rest:
    parts = rest.pop(_MICROBATCHES) / values[_MICROBATCHES]
  if _BATCH_SIZE in rest:
    parts = values[_BATCH_SIZE] / rest.pop(_BATCH_SIZE)
  return parts, rest
