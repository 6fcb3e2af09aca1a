"""The programs of launch/ that no other test runs."""

import subprocess
import sys

from tests.command_line import REPOSITORY


def test_the_comparison_names_what_is_not_the_published_code(tmp_path):
  done = subprocess.run(
    [sys.executable, "-m", "launch.compare_edm", f"--edm={tmp_path}"],
    cwd=REPOSITORY,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 2
  assert f"{tmp_path}: there is no training/networks.py" in done.stderr
