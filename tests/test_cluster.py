"""Which processes a run has, by flags and by what each cluster sets."""

import functools
import http.server
import os
import socket
import threading

import pytest
from absl import flags
from absl.testing import flagsaver

from launch.local_processes import free_port
from lowdiff_jax.cli import cluster, processes
from lowdiff_jax.types import UserError
from tests import many_processes

# Joins the others, and says what they have in common.
PROGRAM = """
import os, sys
import jax
if "GCE_METADATA_IP" in os.environ:
  del os.environ["TPU_SKIP_MDS_QUERY"]  # JAX sets it on machines without TPUs.
from absl import flags
from lowdiff_jax import distributed
from lowdiff_jax.cli import processes
flags.FLAGS(sys.argv)
processes.start()
index = jax.process_index()
print("I am", index, "of", jax.process_count(), distributed.agree(7 + index))
"""
WITH_TPU = {"JAX_FORCE_TPU_INIT": "1", "JAX_PLATFORMS": "cpu"}


@pytest.fixture(autouse=True)
def no_slice(monkeypatch):
  """Tests that compile for TPUs describe one by variables, as GKE does."""
  for name in ("ACCELERATOR_TYPE", "WORKER_HOSTNAMES", "WORKER_ID"):
    monkeypatch.delenv(f"TPU_{name}", raising=False)


def slurm(i, count=2, hosts=1):
  return {
    "SLURM_JOB_ID": "5",
    "SLURM_STEP_NODELIST": "localhost",
    "SLURM_NTASKS": str(count),
    "SLURM_PROCID": str(i),
    "SLURM_LOCALID": str(i // hosts),
    "SLURM_STEP_NUM_NODES": str(hosts),
  }


def open_mpi(i, count=2):
  return {
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://127.0.0.1:34911",
    "OMPI_COMM_WORLD_SIZE": str(count),
    "OMPI_COMM_WORLD_RANK": str(i),
    "OMPI_COMM_WORLD_LOCAL_RANK": str(i),
    "OMPI_COMM_WORLD_LOCAL_SIZE": str(count),
  }


def gke(i, count=2):
  return {
    **WITH_TPU,
    "KUBERNETES_SERVICE_HOST": "10.0.0.1",
    "TPU_WORKER_HOSTNAMES": ",".join(["localhost"] * count),
    "TPU_WORKER_ID": str(i),
    # One slice; JAX asks the metadata server for what is not set.
    "MEGASCALE_COORDINATOR_ADDRESS": "",
    "MEGASCALE_NUM_SLICES": "",
    "MEGASCALE_SLICE_ID": "",
  }


class Metadata(http.server.BaseHTTPRequestHandler):
  """A Cloud TPU VM's metadata server."""

  def do_GET(self):
    attributes = {
      "agent-worker-number": str(self.server.number),
      "worker-network-endpoints": ",".join(["localhost"] * self.server.count),
      "tpu-env": "ACCELERATOR_TYPE: 'v5litepod-16'\n",
    }
    self.send_response(200)
    self.end_headers()
    self.wfile.write(attributes[self.path.rpartition("/")[2]].encode())

  def log_message(self, *unused):
    pass


def tpu_vm(number, count=2):
  server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
  server.number, server.count = number, count
  threading.Thread(target=server.serve_forever, daemon=True).start()
  return {**WITH_TPU, "GCE_METADATA_IP": f"127.0.0.1:{server.server_port}"}


def test_two_processes_join_wherever_jax_detects_a_cluster():
  clusters = {}
  for detected in (slurm, open_mpi, gke, tpu_vm):
    port = {"JAX_COORDINATOR_PORT": str(free_port())}
    clusters[detected.__name__] = many_processes.start(
      many_processes.python(PROGRAM, PROGRAM),
      lambda i, own=detected, port=port: {**own(i), **port},
    )
  for name, both in clusters.items():
    for i, (status, printed, errors) in enumerate(many_processes.results(both)):
      assert status == 0, (name, errors)
      assert f"I am {i} of 2 7" in printed, name


@pytest.fixture(name="parsed")
def with_flags(monkeypatch):
  """(function, variables, **flags) -> the function's result with these."""

  def call(function, variables=(), **given):
    for name, value in dict(variables).items():
      monkeypatch.setenv(name, value)
    with flagsaver.as_parsed(**given):
      flags.FLAGS.mark_as_parsed()
      try:
        return function()
      finally:
        flags.FLAGS.unparse_flags()

  return call


@pytest.fixture(name="find")
def find_with_flags(parsed):
  return functools.partial(parsed, lambda: cluster.find(1))


@pytest.mark.parametrize(
  ("variables", "given"),
  [
    ({}, {}),
    (slurm(0, count=1), {}),
    (open_mpi(0, count=1), {}),
    ({"TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0"}, {}),
    ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, {}),
    (slurm(0), {"num_processes": "1"}),
    ({"JAX_NUM_PROCESSES": "1", "JAX_PROCESS_ID": "0"}, {}),
  ],
)
def test_one_process_is_alone(variables, given, find):
  assert find(variables, **given) is None


@pytest.mark.parametrize(
  ("variables", "devices"),
  [
    (slurm(1), [1]),
    (slurm(1, hosts=2), []),
    ({**slurm(1, hosts=2), "JAX_LOCAL_DEVICE_IDS": "0"}, None),
    (open_mpi(1), [1]),
    ({**open_mpi(1), "OMPI_COMM_WORLD_LOCAL_SIZE": "1"}, []),
  ],
)
def test_the_only_process_of_a_host_uses_all_its_devices(
  variables, devices, find
):
  found = find(variables)
  assert found[1:] == (2, 1, devices)


def test_flags_come_before_variables_and_those_before_detection(find):
  variables = {**slurm(1), "JAX_COORDINATOR_ADDRESS": "a:1"}
  assert find(variables)[:3] == ("a:1", 2, 1)
  given = {"coordinator": "[::1]:2", "num_processes": "4", "process_id": "3"}
  assert find(variables, **given) == ("[::1]:2", 4, 3, [])


@pytest.mark.parametrize(
  ("variables", "given", "line"),
  [
    ({}, {"coordinator": "a:1"}, "--num_processes is missing, and JAX detects"),
    (
      {"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"},
      {},
      "--coordinator is missing, and JAX detects no cluster that tells: give",
    ),
    (
      {"JAX_PROCESS_ID": "2"},
      {"coordinator": "a:1", "num_processes": "2"},
      "JAX_PROCESS_ID=2: expected 0 to 1, as --num_processes=2",
    ),
    ({}, {"coordinator": "host0"}, "--coordinator=host0: expected HOST:PORT"),
    ({}, {"coordinator": "a:99999"}, "--coordinator=a:99999: expected HOST:"),
    (
      {"JAX_NUM_PROCESSES": "two"},
      {},
      "JAX_NUM_PROCESSES=two: expected an integer of at least 1",
    ),
    ({}, {"process_id": "-1"}, "--process_id=-1: expected an integer of at le"),
    (
      {**slurm(0), "SLURM_NTASKS": "many"},
      {},
      "JAX detects a cluster and cannot use it (invalid literal",
    ),
  ],
)
def test_what_does_not_fit_is_named(variables, given, line, find):
  with pytest.raises(UserError) as caught:
    find(variables, **given)
  assert str(caught.value).startswith(line)
  assert "\n" not in str(caught.value)


def test_those_that_do_not_come_are_named_after_a_while():
  program = PROGRAM.replace("start()", "start(join=3)")
  address = f"127.0.0.1:{free_port()}"
  ((status, _, errors),) = many_processes.results(
    many_processes.start(
      many_processes.python(program),
      lambda _: {
        "JAX_COORDINATOR_ADDRESS": address,
        "JAX_NUM_PROCESSES": "2",
        "JAX_PROCESS_ID": "1",
      },
    )
  )
  assert status == os.EX_TEMPFAIL
  (line,) = errors.splitlines()
  expected = f"error: not all of 2 processes have come to {address} within 3 s"
  assert line.startswith(expected)


def test_a_port_in_use(parsed):
  with socket.create_server(("", 0)) as taken:
    address = f"localhost:{taken.getsockname()[1]}"
    given = {"coordinator": address, "num_processes": "2", "process_id": "0"}
    with pytest.raises(UserError, match=f"{address}: process 0 cannot use"):
      parsed(processes.start, **given)


def test_nothing_starts_when_the_package_is_imported():
  """Variables of a cluster are set, and nobody listens."""
  program = """
import importlib, pkgutil
import jax
import lowdiff_jax
from jax._src import xla_bridge
for module in pkgutil.walk_packages(lowdiff_jax.__path__, "lowdiff_jax."):
  if not module.name.endswith("__main__"):
    importlib.import_module(module.name)
assert not jax.distributed.is_initialized()
assert not xla_bridge.backends_are_initialized()
"""
  started = many_processes.start(many_processes.python(program), slurm)
  ((status, _, errors),) = many_processes.results(started, timeout=300)
  assert status == 0, errors
