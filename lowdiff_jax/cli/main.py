"""The command line: python -m lowdiff_jax.main --config=configs/digits.py."""

import difflib
import os
import re
import sys
from pathlib import Path

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from lowdiff_jax.cli import MODES
from lowdiff_jax.experiment import variants
from lowdiff_jax.experiment.check import check
from lowdiff_jax.types import UserError

_CONFIG = config_flags.DEFINE_config_file(
  "config", help_string="FILE.py or FILE.py:argument,argument; required."
)
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Where all results go; default runs/<config name>."
)
_MODE = flags.DEFINE_string("mode", "train", " | ".join(MODES))


def main(argv: list[str]) -> None:
  """Checks what the user asked for and starts it."""
  if argv[1:]:
    raise UserError(f"unexpected argument {argv[1]!r}: see --help")
  if _CONFIG.value is None:
    raise UserError("no config: set --config=configs/digits.py")
  if _MODE.value not in MODES:
    raise UserError(f"--mode={_MODE.value}: expected one of {', '.join(MODES)}")
  check(_CONFIG.value)
  logging.set_verbosity(logging.WARNING)
  keep_compiled_programs()
  _start_processes()
  MODES[_MODE.value](_CONFIG.value, _make_workdir())


def _make_workdir() -> Path:
  name = _WORKDIR.value
  if name is None:
    file, _, arguments = config_flags.get_config_filename(
      flags.FLAGS["config"]
    ).partition(":")
    name = "-".join([Path(file).stem, *filter(None, arguments.split(","))])
    name = f"runs/{name}"
  workdir = Path(name).absolute()
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    probe = workdir / f".writable_{os.getpid()}"
    probe.touch()
    probe.unlink()
  except OSError as error:
    raise UserError(
      f"--workdir={name}: cannot write there ({error.strerror}); choose another"
    ) from error
  return workdir


def keep_compiled_programs() -> None:
  """The second start need not compile; JAX_COMPILATION_CACHE_DIR moves it."""
  if jax.config.jax_compilation_cache_dir is None:
    folder = Path.home() / ".cache" / "lowdiff_jax"
    jax.config.update("jax_compilation_cache_dir", str(folder))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def _start_processes() -> None:
  """Joins the other processes of this run, if there are any.

  Cloud TPU pods and SLURM say so themselves; elsewhere JAX_COORDINATOR_ADDRESS,
  JAX_NUM_PROCESSES and JAX_PROCESS_ID do.
  """
  env = os.environ
  if "JAX_COORDINATOR_ADDRESS" in env:
    count, index = env.get("JAX_NUM_PROCESSES"), env.get("JAX_PROCESS_ID")
    jax.distributed.initialize(
      num_processes=int(count) if count else None,
      process_id=int(index) if index else None,
    )
  elif int(env.get("SLURM_NTASKS", 1)) > 1 or "," in env.get(
    "TPU_WORKER_HOSTNAMES", ""
  ):
    jax.distributed.initialize()


def _parse_flags(argv: list[str]) -> list[str]:
  """Parses the flags; whatever is wrong with them is the user's mistake."""
  for argument in argv:
    field = re.match(r"--?config\.([\w.]+)", argument)
    if field and field[1] not in variants.NAMES:
      near = difflib.get_close_matches(field[1], variants.NAMES, 1)
      hint = (
        f"did you mean {near[0]}?"
        if near
        else "see lowdiff_jax/experiment/schema.py"
      )
      raise UserError(f"config.{field[1]}: no such field; {hint}")
  try:
    rest = flags.FLAGS(argv)
    if _CONFIG.value is not None:
      _CONFIG.value.keys()  # A file that is not there fails when used.
    return rest
  except flags.Error as error:
    # What the config file itself says ends a long story.
    said = re.findall(r"^ValueError: (.*)", str(error), re.MULTILINE)
    reason = said[-1] if said else str(error).split("\n")[0]
    raise UserError(reason) from error
  except (AttributeError, KeyError) as error:
    # A field that this config does not have, though others do.
    for name in re.findall(r"--?config\.([\w.]+)", " ".join(argv)):
      if variants.owner(name) and any(
        f"'{part}'" in str(error) for part in name.split(".")
      ):
        raise UserError(
          f"config.{name}: no such field{variants.owner(name)}"
        ) from error
    raise
  except OSError as error:
    raise UserError("--config: there is no such file") from error


def run() -> None:
  """Runs `main`; a mistake of the user's is one line and exit status 2."""
  try:
    app.run(main, flags_parser=_parse_flags)
  except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
  run()
