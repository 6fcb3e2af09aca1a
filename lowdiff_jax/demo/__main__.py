"""Serves the demo page: python -m lowdiff_jax.demo runs/digits."""

import argparse
import sys
from collections.abc import Sequence

from lowdiff_jax.cli.main import keep_compiled_programs
from lowdiff_jax.experiment import named_models
from lowdiff_jax.types import UserError


def main(argv: Sequence[str] | None = None) -> None:
  """Parses the arguments and serves until Ctrl-C."""
  parser = argparse.ArgumentParser(
    prog="python -m lowdiff_jax.demo", description=__doc__
  )
  names = named_models.names()
  parser.add_argument(
    "model",
    nargs="?" if names else None,
    default=next(iter(names), None),
    help="a run, a folder of --mode=export, or a model of the package",
  )
  parser.add_argument(
    "--baseline",
    help="a model of the top resolution alone to compare with; MODEL-baseline "
    "if there is one",
  )
  parser.add_argument(
    "--host",
    default="127.0.0.1",
    help="address to listen at; others than this machine's can reach the page "
    "at 0.0.0.0",
  )
  parser.add_argument("--port", type=int, default=7860)
  args = parser.parse_args(argv)
  try:
    from lowdiff_jax.demo import server
  except ModuleNotFoundError as error:
    raise UserError(
      f"the demo needs {error.name}: pip install 'lowdiff_jax[demo]'"
    ) from error
  keep_compiled_programs()
  page = server.open_page(args.model, args.baseline)
  server.serve(page, args.host, args.port).block_thread()


if __name__ == "__main__":
  try:
    main()
  except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)
