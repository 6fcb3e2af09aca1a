"""What starts runs elsewhere: dry runs, runs with stand-ins, and linters."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import command_line
from tests.command_line import REPOSITORY

LAUNCH = REPOSITORY / "launch"
SCRIPTS = [*sorted(LAUNCH.glob("*.sh")), LAUNCH / "slurm.sbatch"]
TOOLS = Path(sys.executable).parent
CLOUD = {"PROJECT": "my-project", "ZONE": "us-west4-a", "BUCKET": "bkt"}
# Verbs of gcloud and flags that each of them has, by its own reference.
COMMON = {"--project", "--quiet", "--format"}
GCLOUD = {
  "compute tpus queued-resources create": {
    "--zone",
    "--node-id",
    "--accelerator-type",
    "--runtime-version",
    "--spot",
    "--service-account",
  },
  "compute tpus queued-resources describe": {"--zone"},
  "compute tpus queued-resources delete": {"--zone", "--force"},
  "compute tpus tpu-vm ssh": {"--zone", "--worker", "--command"},
  "compute tpus tpu-vm scp": {"--zone", "--worker"},
  "storage rsync": {"--recursive", "--exclude"},
}


def script(name, *arguments, **env):
  return subprocess.run(
    [shutil.which("bash"), LAUNCH / name, *arguments],
    env={**os.environ, **env},
    capture_output=True,
    text=True,
    timeout=600,
  )


def tpu_pod(*arguments, **env):
  """The commands of a dry run, a list of words each."""
  done = script("tpu_pod.sh", "--dry-run", *arguments, **CLOUD, **env)
  assert done.returncode == 0, done.stderr
  return [shlex.split(line) for line in done.stdout.splitlines()]


def verb(words):
  """What gcloud is to do, and the flags."""
  line = " ".join(words[1:])
  (name,) = [name for name in GCLOUD if line.startswith(f"{name} ")]
  return name, dict(w.partition("=")[::2] for w in words if w.startswith("--"))


def test_scripts_have_no_warnings():
  shellcheck = [TOOLS / "shellcheck", "--external-sources"]
  where = ["--source-path=SCRIPTDIR", *SCRIPTS, *REPOSITORY.glob(".ci/*")]
  done = subprocess.run([*shellcheck, *where], capture_output=True, text=True)
  assert done.returncode == 0, done.stdout


def test_every_step_on_a_slice():
  flags = ["--config=configs/imagenet256.py:xl", "--config.data.dir=a b"]
  commands = tpu_pod("all", *flags, SERVICE_ACCOUNT="s@my-project.iam")
  calls = []
  for words in commands:
    if words[0] == "gcloud":
      name, given = verb(words)
      assert given.keys() <= GCLOUD[name] | COMMON, words
      assert given["--project"] == "my-project"
      assert given.get("--zone", "us-west4-a") == "us-west4-a"
      calls.append((name.rpartition(" ")[2], given))
  assert [name for name, _ in calls] == (
    ["create", "describe", "ssh", "scp", "ssh", "ssh", "ssh", "rsync", "delete"]
  )
  create, _, status, scp, setup, run, logs, fetch, delete = (
    given for _, given in calls
  )
  assert create["--accelerator-type"] == "v5litepod-8"
  assert create["--runtime-version"] == "v2-alpha-tpuv5-lite"
  assert create["--service-account"] == "s@my-project.iam"
  assert "--spot" in create and "--force" in delete
  on = [each["--worker"] for each in (status, scp, setup, run, logs)]
  assert on == ["all", "all", "all", "all", "0"]
  assert "jax[tpu]" in setup["--command"]
  remote = shlex.split(run["--command"].partition(" && ")[2])
  assert remote[:3] == ["bash", "launch/detached.sh", "start"]
  assert remote[-3:] == ["--workdir=gs://bkt/lowdiff", *flags]
  assert "JAX_COMPILATION_CACHE_DIR=gs://bkt/compiled" in remote
  assert "checkpoints" in fetch["--exclude"]
  (archive,) = [words for words in commands if words[0] == "git"]
  sent = archive[archive.index("HEAD") + 1 :]
  assert {"lowdiff_jax", "configs", "launch", "requirements.txt"} == set(sent)


@pytest.mark.parametrize(
  ("accelerator", "runtime"),
  [
    ("v6e-256", "v2-alpha-tpuv6e"),
    ("v5p-128", "v2-alpha-tpuv5"),
    ("v4-8", "tpu-ubuntu2204-base"),
  ],
)
def test_a_slice_has_the_software_of_its_chips(accelerator, runtime):
  create, _ = tpu_pod("create", ACCELERATOR=accelerator, SPOT="no", NAME="a-1")
  _, flags = verb(create)
  assert flags["--node-id"] == "a-1" and "--spot" not in flags
  assert flags["--accelerator-type"] == accelerator
  assert flags["--runtime-version"] == runtime


@pytest.mark.parametrize(
  ("arguments", "env", "said"),
  [
    ([], {}, "expected a verb"),
    (["creat"], {}, "expected a verb, not 'creat'"),
    (["create"], {"PROJECT": ""}, "PROJECT is not set"),
    (["create"], {"ZONE": ""}, "ZONE is not set"),
    (["create"], {"BUCKET": ""}, "BUCKET is not set"),
    (["create"], {"BUCKET": "s3://bkt"}, "BUCKET=s3://bkt: expected"),
    (["create"], {"NAME": "a b"}, "NAME=a b: expected"),
    (["create"], {"SPOT": "1"}, "SPOT=1: expected yes or no"),
    (["create"], {"ACCELERATOR": "v9-8"}, "ACCELERATOR=v9-8: set RUNTIME"),
    (["logs", "x"], {}, "unexpected x"),
    (["run"], {}, "run: expected flags"),
    (["all", "--workdir=x"], {}, "--workdir: it is gs://BUCKET/NAME"),
  ],
)
def test_mistakes_are_one_line(arguments, env, said):
  done = script("tpu_pod.sh", *arguments, **{**CLOUD, **env})
  assert done.returncode == 2
  (line,) = done.stderr.splitlines()
  assert line.startswith("error: ") and said in line


@pytest.mark.parametrize(
  ("gcloud", "said"),
  [
    (None, ["error: there is no gcloud"]),
    ("echo NO_ACCOUNT >&2; exit 1", ["NO_ACCOUNT", "error: gcloud does not"]),
  ],
)
def test_gcloud_is_missing_or_refuses(gcloud, said, tmp_path):
  (tmp_path / "dirname").symlink_to(shutil.which("dirname"))
  if gcloud is not None:
    (tmp_path / "gcloud").write_text(f"#!/bin/sh\n{gcloud}\n")
    (tmp_path / "gcloud").chmod(0o755)
  done = script("tpu_pod.sh", "create", **CLOUD, PATH=str(tmp_path))
  assert done.returncode == 2
  for line, text in zip(done.stderr.splitlines(), said, strict=True):
    assert line.startswith(text)


def train_on_a_slice(tmp_path, status):
  """With a stand-in for gcloud; the workers' commands really run.

  They are preempted once, and then end once with this status.
  """
  gcloud = tmp_path / "bin" / "gcloud"
  gcloud.parent.mkdir()
  stand_in = f"{sys.executable} -S {REPOSITORY}/tests/fake_gcloud.py"
  gcloud.write_text(f'#!/bin/sh\nexec {stand_in} "$@"\n')
  gcloud.chmod(0o755)
  done = script(
    "tpu_pod.sh",
    "all",
    "--config=configs/digits.py",
    **CLOUD,
    FAKE_CLOUD=str(tmp_path),
    FAKE_STATUS=str(status),
    POLL="0.2",
    NAME="stand-in",
    PATH=f"{gcloud.parent}:{os.environ['PATH']}",
  )
  (REPOSITORY / "runs" / "stand-in.tar.gz").unlink()
  return done, (tmp_path / "runs").read_text().splitlines()


def test_a_run_goes_on_after_a_preemption_and_a_failure(tmp_path):
  done, runs = train_on_a_slice(tmp_path, 75)
  (REPOSITORY / "runs" / "stand-in").rmdir()
  assert done.returncode == 0, done.stderr
  calls = (tmp_path / "calls").read_text().splitlines()
  requests = [c.split()[3] for c in calls if "queued" in c]
  changes = [verb for verb in requests if verb != "describe"]
  assert changes == ["create", "delete", "create", "delete"]
  assert sum("scp" in call for call in calls) == 2
  assert calls[-2].startswith("storage rsync")
  assert runs == 6 * [
    "-m lowdiff_jax.main --workdir=gs://bkt/stand-in --config=configs/digits.py"
  ]
  assert not (tmp_path / "state").exists()


def test_a_mistake_is_not_started_again(tmp_path):
  done, runs = train_on_a_slice(tmp_path, 2)
  assert done.returncode == 2 and len(runs) == 4
  assert "error: the program ended with status 2; the slice is" in done.stderr


def local_processes(*command, options=()):
  return subprocess.run(
    [sys.executable, "-m", "launch.local_processes", *options, *command],
    cwd=REPOSITORY,
    env=command_line.environment(),
    capture_output=True,
    text=True,
    timeout=600,
  )


ONE_RUN = """
import sys, jax, jax.numpy as jnp
from absl import flags
from lowdiff_jax import distributed
from lowdiff_jax.cli import processes
flags.FLAGS(sys.argv)
processes.start()
processes.connect()
print("connected", jax.process_index(), jax.process_count(), flush=True)
rows = distributed.batch_sharding(distributed.make_mesh())
numbers = jax.make_array_from_callback(
  (4,), rows, lambda which: jnp.arange(4)[which]
)
print("sum", jax.jit(jnp.sum)(numbers), flush=True)
"""


def test_processes_of_this_machine_are_one_run():
  options = ["--processes=2", "--devices=2"]
  done = local_processes(sys.executable, "-c", ONE_RUN, options=options)
  assert done.returncode == 0, done.stdout
  for i in range(2):
    lines = [x for x in done.stdout.splitlines() if x.startswith(f"{i}: ")]
    joined = lines.index(f"{i}: connected {i} 2")
    # Gloo names each connection, and makes none later.
    assert any("3 peer ranks" in line for line in lines[:joined])
    assert lines[joined + 1 :] == [f"{i}: sum 6"]


def test_the_first_process_that_fails_ends_the_others(tmp_path):
  """One of them ignores SIGTERM."""
  program = (
    f"cd {tmp_path}; [[ $JAX_PROCESS_ID != 0 ]] || trap '' TERM; "
    "echo of $JAX_NUM_PROCESSES; touch $JAX_PROCESS_ID; "
    "until [[ -e 0 && -e 1 && -e 2 ]]; do sleep 0.1; done; "
    "[[ $JAX_PROCESS_ID != 1 ]] || exit 7; while true; do sleep 0.1; done"
  )
  options = ["--processes=3", "--grace=1"]
  done = local_processes("bash", "-c", program, options=options)
  assert done.returncode == 7
  assert sorted(done.stdout.splitlines()) == [f"{i}: of 3" for i in range(3)]
