"""The job of SLURM, with stand-ins for its programs."""

import os

import pytest

from tests.test_launchers import LAUNCH, script


@pytest.mark.parametrize(
  ("status", "requeued"),
  [(0, False), (1, False), (2, False), (75, True), (137, True), (143, True)],
)
def test_a_job_of_slurm_is_queued_again(status, requeued, tmp_path):
  """With stand-ins for srun and scontrol."""
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
  )
  assert done.returncode == status
  calls = (tmp_path / "calls").read_text().splitlines()
  assert calls[0].endswith(".venv/bin/python -m lowdiff_jax.main --workdir=a b")
  assert calls[1:] == ["scontrol requeue 11"] * requeued


def test_a_job_of_slurm_saves_before_its_time_is_over():
  text = (LAUNCH / "slurm.sbatch").read_text()
  for option in ("--signal=TERM@120", "--requeue", "--open-mode=append"):
    assert f"#SBATCH {option}\n" in text
