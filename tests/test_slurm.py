"""The job of SLURM, with stand-ins for its programs."""

import os
import time

import pytest

from tests.test_launchers import LAUNCH, script


@pytest.mark.parametrize(
  ("status", "minutes", "requeued"),
  [
    (0, 20, False),
    (1, 20, False),
    (2, 20, False),
    (75, 20, True),
    (75, 5, False),
    (137, 20, True),
    (137, 5, False),
    (143, 5, True),
  ],
)
def test_a_job_of_slurm_is_queued_again(status, minutes, requeued, tmp_path):
  """With stand-ins for srun and scontrol, so many minutes after its start."""
  for name, line in (("srun", f"exit {status}"), ("scontrol", "")):
    program = tmp_path / name
    program.write_text(
      f'#!/usr/bin/env bash\necho {name} "$@" >> {tmp_path}/calls\n{line}\n'
    )
    program.chmod(0o755)
  done = script(
    "slurm.sbatch",
    "--workdir=a b",
    PATH=f"{tmp_path}:{os.environ['PATH']}",
    SLURM_SUBMIT_DIR=str(tmp_path),
    SLURM_JOB_ID="11",
    SLURM_JOB_START_TIME=str(int(time.time()) - 60 * minutes),
  )
  assert done.returncode == status
  calls = (tmp_path / "calls").read_text().splitlines()
  assert calls[0].endswith(".venv/bin/python -m lowdiff_jax.main --workdir=a b")
  assert calls[1:] == ["scontrol requeue 11"] * requeued


def test_a_job_of_slurm_saves_before_its_time_is_over():
  text = (LAUNCH / "slurm.sbatch").read_text()
  for option in ("--signal=TERM@120", "--requeue", "--open-mode=append"):
    assert f"#SBATCH {option}\n" in text
