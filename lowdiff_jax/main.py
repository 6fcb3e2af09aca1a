"""The command: python -m lowdiff_jax.main; see `cli/main.py`."""

from lowdiff_jax.cli.main import run

if __name__ == "__main__":
  run()
