"""Which processes a run has: by flags, by variables, or as JAX detects them."""

import os
import re
import socket
from collections.abc import Callable
from typing import Any, NamedTuple

from absl import flags
from jax._src import clusters

from lowdiff_jax.types import UserError

_COORDINATOR = flags.DEFINE_string(
  "coordinator",
  None,
  "HOST:PORT of process 0, where several processes that JAX does not detect "
  "meet; or JAX_COORDINATOR_ADDRESS.",
)
_NUM_PROCESSES = flags.DEFINE_string(
  "num_processes",
  None,
  "How many processes there are; or JAX_NUM_PROCESSES. 1: this one is alone, "
  "whatever JAX detects.",
)
_PROCESS_ID = flags.DEFINE_string(
  "process_id", None, "Which of them this one is, from 0; or JAX_PROCESS_ID."
)
_FLAGS = "coordinator", "num_processes", "process_id"
# Seconds to find out whether this machine has a metadata server.
_METADATA_PATIENCE = 2.0
_ALONE = "--num_processes=1 if this process is alone"


class Cluster(NamedTuple):
  """The processes of a run.

  Attributes:
    coordinator: host:port on which process 0 is met.
    count: of processes, at least 2.
    index: of this process.
    devices: indices of the devices of this host that this process uses; empty
      for all of them; None for what JAX_LOCAL_DEVICE_IDS says.
  """

  coordinator: str
  count: int  # type: ignore[assignment]  # It hides tuple.count.
  index: int  # type: ignore[assignment]  # It hides tuple.index.
  devices: list[int] | None


class _Given(NamedTuple):
  """A flag or a variable: its name and its value."""

  name: str
  value: Any


def find(patience: float) -> Cluster | None:
  """The processes that this one is one of.

  Flags come before variables, and both before what JAX detects: Cloud TPU
  VMs, GKE, SLURM, Open MPI and indexed Jobs of Kubernetes.

  Args:
    patience: seconds in which the name of process 0's host should be known.

  Returns:
    The cluster; None if this process is alone.

  Raises:
    UserError: flags or variables are wrong or too few.
  """
  coordinator = _given(_COORDINATOR, "JAX_COORDINATOR_ADDRESS", _address)
  count = _given(_NUM_PROCESSES, "JAX_NUM_PROCESSES", _integer(1))
  index = _given(_PROCESS_ID, "JAX_PROCESS_ID", _integer(0))
  if count and index and index.value >= count.value:
    raise UserError(
      f"{index.name}={index.value}: expected 0 to {count.value - 1}, as "
      f"{count.name}={count.value}"
    )
  if count and count.value == 1:
    return None
  given = [each and each.value for each in (coordinator, count, index)]
  found = (*given, []) if None not in given else _detected(given, patience)
  if found[1] == 1 or found[:3] == (None, None, None):
    return None
  for name, value in zip(_FLAGS, found, strict=False):
    if value is None:
      raise UserError(
        f"--{name} is missing, and JAX detects no cluster that tells: "
        "give all processes --coordinator=HOST:PORT, --num_processes=N and "
        f"--process_id=I, or {_ALONE}"
      )
  own = "JAX_LOCAL_DEVICE_IDS" in os.environ
  return Cluster(found[0], found[1], found[2], None if own else found[3])


def _given(
  flag: flags.FlagHolder, variable: str, parse: Callable[[str], Any]
) -> _Given | None:
  """The flag, or else the variable; None without either."""
  name, text = f"--{flag.name}", flag.value
  if text is None:
    name, text = variable, os.environ.get(variable)
  if text is None:
    return None
  try:
    return _Given(name, parse(text))
  except ValueError as error:
    raise UserError(f"{name}={text}: expected {error}") from None


def _address(text: str) -> str:
  """HOST:PORT, where an IPv6 address is in brackets."""
  found = re.fullmatch(r"(?:\[[0-9a-fA-F:.%]+\]|[^\s:/\[\]]+):(\d{1,5})", text)
  if not found or not 0 < int(found[1]) < 2**16:
    raise ValueError("HOST:PORT, as in host0:1234")
  return text


def _integer(least: int) -> Callable[[str], int]:
  def parse(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text) or int(text) < least:
      raise ValueError(f"an integer of at least {least}")
    return int(text)

  return parse


def _detected(given: list[Any], patience: float) -> tuple[Any, ...]:
  """A cluster's parts: those given, the rest as JAX detects it, else None.

  Without a TPU, and outside of Kubernetes, this reads variables alone.
  """
  env = os.environ
  hosts = env.get("TPU_WORKER_HOSTNAMES")
  if hosts and "," not in hosts and env.get("MEGASCALE_NUM_SLICES", "1") == "1":
    return *given, []
  pod = "KUBERNETES_SERVICE_HOST" in env
  if pod and not hosts and "JOB_COMPLETION_INDEX" not in env:
    return *given, []  # JAX knows no other than indexed Jobs.
  # JAX sets it where there is no TPU; libtpu asks the server too.
  if "TPU_SKIP_MDS_QUERY" not in env and not _has_metadata():
    env["TPU_SKIP_MDS_QUERY"] = "1"
  try:
    *parts, devices = clusters.ClusterEnv.auto_detect_unset_distributed_params(
      given[0], given[1], given[2], None, None, int(patience)
    )
  # Of whatever cluster: variables, name servers, requests.
  except Exception as error:
    raise UserError(
      f"JAX detects a cluster and cannot use it ({' '.join(str(error).split())}"
      "): give --coordinator=HOST:PORT, --num_processes=N and --process_id=I, "
      f"or {_ALONE}"
    ) from error
  # JAX means a process for each device, with SLURM and Open MPI.
  per_host = str(parts[1]) == env.get("SLURM_STEP_NUM_NODES")
  if per_host or env.get("OMPI_COMM_WORLD_LOCAL_SIZE") == "1":
    devices = None
  return *parts, list(devices or ())


def _has_metadata() -> bool:
  """Whether a Cloud TPU VM's metadata server answers."""
  host = os.environ.get("GCE_METADATA_IP", "metadata.google.internal")
  name, _, port = host.partition(":")
  address = name, int(port or 80)
  try:
    socket.create_connection(address, _METADATA_PATIENCE).close()
  except OSError:
    return False
  return True
