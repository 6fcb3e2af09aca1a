"""Runs the real command line in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
COMPILED = Path.home() / ".cache" / "lowdiff_jax" / "tests"


def environment(**extra: str) -> dict[str, str]:
  """One CPU device and the tests' compilation cache."""
  inherited = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
  return {
    **inherited,
    "JAX_PLATFORMS": "cpu",
    "JAX_COMPILATION_CACHE_DIR": str(COMPILED),
    **extra,
  }


def command(*arguments: str, config: str = "digits.py:smoke") -> list[str]:
  """The command with a config of the repository."""
  config = f"--config={REPOSITORY}/configs/{config}"
  return [sys.executable, "-m", "lowdiff_jax.main", config, *arguments]


def run(
  *arguments: str, config: str = "digits.py:smoke", **env: str
) -> subprocess.CompletedProcess:
  """Runs it to its end."""
  return subprocess.run(
    command(*arguments, config=config),
    cwd=REPOSITORY,
    env=environment(**env),
    capture_output=True,
    text=True,
    timeout=300,
  )
