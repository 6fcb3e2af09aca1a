"""Runs the real command line in a process of its own."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests import forked

REPOSITORY = Path(__file__).parent.parent
SMOKE = "tests/digits.py:smoke"
# Compiling is most of what the tests do, and their networks are tiny.
XLA_FLAGS = "--xla_backend_optimization_level=0"
if version("jaxlib").startswith("0.10."):
  # XLA's former code generator, which it means to drop, takes a third as long.
  XLA_FLAGS += " --xla_cpu_use_fusion_emitters=false"
  XLA_FLAGS += " --xla_cpu_parallel_codegen_split_count=1"
# A secret in the environment, which nothing may write down.
TOKEN = "token-5f2b9c71"
HOLD = """
import sys
from lowdiff_jax import files, leases, locks
leases.RENEWED = 0.2
with locks.locked(files.expanded(sys.argv[1]), "train"):
  print("held", flush=True)
  sys.stdin.readline()
"""
# Flags of runs whose scores are no matter, so that no classifier is trained.
UNSCORED = (
  "--config.evaluation.images_during_training=0",
  "--config.evaluation.images=0",
)
_PROGRAM = [sys.executable, "-m", "lowdiff_jax.main"]
COMPILED = Path.home() / ".cache" / "lowdiff_jax" / "tests"


def environment(devices: int = 1, **extra: str) -> dict[str, str]:
  """Simulated CPU devices and the tests' compilation cache."""
  count = f"--xla_force_host_platform_device_count={devices}"
  return {
    **os.environ,
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": f"{XLA_FLAGS} {count}",
    "JAX_COMPILATION_CACHE_DIR": str(COMPILED),
    "TEST_TOKEN": TOKEN,
    **extra,
  }


def command(*arguments: str, config: str | None = SMOKE) -> list[str]:
  """The command with a config of the repository, or without one."""
  page = [f"--config={REPOSITORY}/{config}"] if config else []
  return [*_PROGRAM, *page, *arguments]


def run(
  *arguments: str,
  config: str | None = SMOKE,
  memory: str = "unlimited",
  **env: str,
) -> subprocess.CompletedProcess:
  """Runs it to its end, with at most so many KiB of address space."""
  words = command(*arguments, config=config)
  if memory != "unlimited":
    words = ["bash", "-c", f'ulimit -v {memory}; exec "$@"', "bash", *words]
  process = popen(words, environment(**env))
  try:
    printed, errors = process.communicate(timeout=300)
  finally:
    process.kill()
  return subprocess.CompletedProcess(words, process.returncode, printed, errors)


def start(
  *arguments: str, config: str | None = SMOKE, **env: str
) -> subprocess.Popen:
  """Starts it."""
  return popen(command(*arguments, config=config), environment(**env))


def start_program(text: str, *arguments: str) -> subprocess.Popen:
  """Starts a program in Python."""
  return popen([sys.executable, "-c", text, *arguments], environment())


def popen(
  words: list[str], variables: dict[str, str], **streams: Any
) -> subprocess.Popen:
  """Starts a program with pipes; the command line where it is imported."""
  program, words = subprocess.Popen, list(words)
  if words[: len(_PROGRAM)] == _PROGRAM:
    program, words = forked.Popen, words[len(_PROGRAM) :]
  pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
  pipes |= streams
  return program(words, cwd=REPOSITORY, env=variables, text=True, **pipes)


def lock_holder(folder: object) -> subprocess.Popen:
  """A process that holds the lock "train" of a folder until it reads a line."""
  process = start_program(HOLD, str(folder))
  assert process.stdout.readline() == "held\n"
  return process
