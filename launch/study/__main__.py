"""The command: python -m launch.study; see run.py."""

import sys

from launch.study.run import run

if __name__ == "__main__":
  sys.exit(run())
