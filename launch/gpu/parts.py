"""The parts of the measurement, the most important ones first."""

from typing import NamedTuple

COMPARISON, PROGRAM = "launch.compare.edm", "launch.gpu.program"


class Part(NamedTuple):
  """A program that measures something and writes it as JSON.

  Attributes:
    name: of its file.
    module: that is run.
    flags: for the module.
    batch_size: to begin with; halved as long as memory does not suffice.
    minutes: after which it is stopped.
  """

  name: str
  module: str
  flags: tuple[str, ...]
  batch_size: int
  minutes: float


def parts(small: bool) -> list[Part]:
  """All parts; with tiny networks and batches, if small."""
  found = [
    _comparison("float32"),
    _comparison("float16", "--dtype=bfloat16", "--their-dtype=float16"),
    _program("dit-train", "configs/imagenet256.py", 1024, small),
    _program("dit-sample", "configs/imagenet256.py", 256, small),
    *(
      _program(
        f"unet-{dtype}-{program}",
        "configs/cifar10.py:baseline",
        256,
        small,
        f"--config.model.dtype={dtype}",
      )
      for dtype in ("bfloat16", "float32")
      for program in ("train", "sample")
    ),
    _comparison(
      "bfloat16-compiled",
      "--dtype=bfloat16",
      "--their-dtype=bfloat16",
      "--compile",
      "--tf32=on",
    ),
    _comparison("float32-compiled", "--compile", "--tf32=on"),
    *(
      _program(
        f"cascade-{program}",
        "configs/cifar10.py:cond",
        256,
        small,
        "--config.model.dtype=bfloat16",
      )
      for program in ("sample", "train")
    ),
    _comparison("float32-exact", "--tf32=off"),
  ]
  return [_shrunk(part) for part in found] if small else found


def _comparison(name: str, *flags: str) -> Part:
  minutes = 6 if "--compile" in flags else 4
  flags = ("--repeats=3", *flags)
  return Part(f"edm-{name}", COMPARISON, flags, 256, minutes)


def _program(
  name: str, page: str, batch_size: int, small: bool, *fields: str
) -> Part:
  """A training step or sampling, as the end of the name says."""
  if small:
    page += ",smoke" if ":" in page else ":smoke"
  flags = (page, name.rpartition("-")[2], *fields)
  return Part(name, PROGRAM, flags, batch_size, 4)


def _shrunk(part: Part) -> Part:
  """A part in seconds on a CPU."""
  flags: tuple[str, ...] = ("--repeats=1",)
  if part.module == COMPARISON:
    flags += ("--channels=16", "--num-blocks=1", "--steps=2")
  return part._replace(flags=(*part.flags, *flags), batch_size=2)
