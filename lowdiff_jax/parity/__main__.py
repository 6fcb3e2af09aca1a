"""The command: python -m lowdiff_jax.parity verify FILE.npz ..."""

import sys

from lowdiff_jax.parity.verify import run

if __name__ == "__main__":
  sys.exit(run(sys.argv[1:]))
