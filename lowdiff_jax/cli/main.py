"""The command line: python -m lowdiff_jax.main --config=digits."""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from absl import app, flags, logging
from ml_collections import ConfigDict

from lowdiff_jax import buckets, console, files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.cli import COMPILE_ONLY, MODES, faults, help, processes, push
from lowdiff_jax.cli.devices import check_devices, leave_devices
from lowdiff_jax.experiment import identity, memory, named_models, run_folder
from lowdiff_jax.experiment.errors import naming
from lowdiff_jax.experiment.overrides import override, parse_flags, read_page
from lowdiff_jax.types import UserError

_CONFIG = flags.DEFINE_string(
  "config",
  None,
  "PAGE or FILE.py, with arguments PAGE:argument,argument; a trained run knows "
  "its own.",
)
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Folder of the run; default runs/<config name>."
)
_MODEL = flags.DEFINE_string(
  "model",
  None,
  "A trained model to sample, score and time: a name of the package, a folder, "
  "hf://OWNER/NAME.",
)
_MODE = flags.DEFINE_string("mode", "train", "What to do; default train.")
_QUIET = flags.DEFINE_bool(
  "quiet", False, "Print results, warnings and errors alone."
)

# Fields set by flags, filled by `_parse_flags`: (name, text).
_FIELDS: list[tuple[str, str]] = []
# Modes that need no writable workdir.
_READ_ONLY = ("config",)
# Modes that sample no model but the one that they train, or none.
_OWN_MODEL = ("train", "encode", "measure", "plan")


def main(argv: list[str]) -> None:
  """Checks what the user asked for and starts it."""
  logging.set_verbosity(logging.WARNING)
  console.set_quiet(_QUIET.value)
  if argv[1:] == ["completions"]:
    print(help.completions(), end="")
    return
  if argv[1:2] == ["push"]:
    push.run(argv[2:])
    return
  if argv[1:]:
    raise UserError(f"unexpected argument {argv[1]!r}: see --help")
  if _MODE.value not in MODES:
    raise UserError(f"--mode={_MODE.value}: expected one of {', '.join(MODES)}")
  if _MODEL.value is not None and _MODE.value in _OWN_MODEL:
    raise UserError(
      f"--model={_MODEL.value}: mode {_MODE.value} makes its own; to start "
      "from these weights, set --config.model.init_from"
    )
  page = None if _CONFIG.value is None else read_page(_CONFIG.value)
  if page is not None:
    override(page, parse_flags(_FIELDS, page))  # Its mistakes come first.
  workdir = _workdir()
  keep_compiled_programs()
  processes.start(training=_MODE.value == "train")
  if _MODE.value in COMPILE_ONLY:
    leave_devices()
  check_devices()
  processes.connect()
  with faults.of_writes(workdir):
    config = _config(page, workdir)
    if _MODE.value not in _READ_ONLY:
      _make_writable(workdir)
    with memory.or_lower(config, *memory.of_mode(_MODE.value, config)):
      MODES[_MODE.value](config, workdir)


def _config(page: ConfigDict | None, workdir: AnyPath) -> ConfigDict:
  """The page, or the run's own config, with the fields that flags set."""
  model = _MODEL.value
  if model is None:
    own, name = run_folder.read_config(workdir), _WORKDIR.value or str(workdir)
  else:
    own, name = named_models.read_config(model), model
  base = own if page is None else page
  values = {} if base is None else parse_flags(_FIELDS, base)
  if model is not None:
    values["sampling.model"] = model
  return identity.for_run(own, page, values, name)


def _workdir() -> AnyPath:
  name = _WORKDIR.value
  if name is None and _MODEL.value is not None:
    name = f"runs/{_MODEL.value.rstrip('/').rpartition('/')[2]}"
  if name is None:
    if _CONFIG.value is None:
      raise UserError(
        "no config: set --config=digits, --model to a trained model, or "
        "--workdir to the folder of a trained run"
      )
    file, _, arguments = _CONFIG.value.partition(":")
    name = "-".join([Path(file).stem, *filter(None, arguments.split(","))])
    name = f"runs/{name}"
  with naming("--workdir"):
    return files.absolute(files.expanded(name))


def _make_writable(workdir: AnyPath) -> None:
  probe = workdir / f".writable_{os.getpid()}"
  if buckets.is_in_bucket(workdir):
    with naming("--workdir"):
      files.write_bytes(probe, b"")
    probe.unlink()
    return
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    probe.touch()
    probe.unlink()
  except OSError as error:
    raise UserError(
      f"--workdir={workdir}: cannot write there ({error.strerror}); choose "
      "another"
    ) from error


def keep_compiled_programs() -> None:
  """Enables JAX's persistent compilation cache.

  JAX_COMPILATION_CACHE_DIR says where; ~/.cache/lowdiff_jax by default.
  """
  config: Any = jax.config  # It does not declare its flags.
  if config.jax_compilation_cache_dir is None:
    with naming("JAX_COMPILATION_CACHE_DIR"):
      folder = files.expanded("~/.cache/lowdiff_jax")
    jax.config.update("jax_compilation_cache_dir", str(folder))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def _parse_flags(argv: Sequence[str]) -> list[str]:
  """Parses the flags; those of the config's fields are kept as text."""
  rest, arguments = [argv[0]], iter(argv[1:])
  _FIELDS.clear()
  for argument in arguments:
    if argument in help.OPTIONS:
      print(help.text(), end="")
      sys.exit()
    name, equals, text = argument.partition("=")
    if not name.lstrip("-").startswith("config.") or not name.startswith("-"):
      rest.append(argument)
      continue
    if not equals:
      following = next(arguments, None)
      if following is None:
        raise UserError(f"{argument}: expected {argument}=VALUE")
      text = following
    _FIELDS.append((name.lstrip("-").removeprefix("config."), text))
  try:
    return flags.FLAGS(rest)
  except flags.Error as error:
    raise UserError(str(error).split("\n")[0]) from error


def run() -> None:
  """Runs `main`; a mistake of the user's is one line and exit status 2."""
  faults.quiet_libraries()
  # Ctrl-C ends the program whatever its threads wait for, but for training.
  signal.signal(signal.SIGINT, signal.SIG_DFL)
  try:
    app.run(main, flags_parser=_parse_flags)
  except UserError as error:
    faults.end(error)
  except Exception:
    processes.failed(1, unforeseen=True)
    raise
