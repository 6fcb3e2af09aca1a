"""The processes of a run: how they join, and what if one of them is lost."""

import atexit
import os
import socket
import threading
from typing import NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from lowdiff_jax import distributed
from lowdiff_jax.cli import cluster
from lowdiff_jax.cli.watch import Watch, complain
from lowdiff_jax.train.watchdog import STATUS
from lowdiff_jax.types import UserError

_HEARTBEAT = flags.DEFINE_float(
  "heartbeat",
  25.0,
  "Seconds without a sign of life of one of several processes until the others "
  "end.",
  lower_bound=1.0,
)
# Seconds until all processes have joined.
JOIN = 300.0
# Seconds that one may be behind the others, which wait for it.
STALL = 600.0
# Those that have come to their end wait for the others so many seconds.
_SHUTDOWN = 7 * 24 * 3600

_watch: Watch | None = None


def start(
  *, training: bool = False, join: float = JOIN, stall: float = STALL
) -> None:
  """Joins the other processes of this run, if there are any: `cluster.find`.

  From then on, the loss of one ends all others in a line: they would wait for
  it in the next collective operation.

  Args:
    training: SIGTERM is for the training loop; else it ends the program.
    join: seconds in which all should join.
    stall: seconds for which one may be behind the others in training.

  Raises:
    UserError: flags are wrong, or process 0 cannot use its port.
  """
  waiting = threading.Timer(5, complain, ["waiting for the other processes"])
  waiting.daemon = True
  waiting.start()
  try:
    found = cluster.find(join)
    if found is not None:
      _join(found, training, join)
  finally:
    waiting.cancel()
  if found is None:
    return
  global _watch
  _watch = Watch(found.coordinator, _HEARTBEAT.value, stall)
  _watch.start()
  # Python must not end within a call of JAX.
  atexit.register(_watch.stop)


def _join(found: cluster.Cluster, training: bool, join: float) -> None:
  """Initialises JAX's distributed runtime."""
  if found.index == 0:
    _check_port(found.coordinator)
  given_up = threading.Timer(join, _give_up, [found, join])
  given_up.daemon = True
  given_up.start()
  jax.config.update("jax_enable_preemption_service", training)
  jax.distributed.initialize(
    found.coordinator,
    found.count,
    found.index,
    local_device_ids=found.devices,
    # JAX's own limits end a process with a page of its stack: ours come first.
    initialization_timeout=int(join) + 60,
    heartbeat_timeout_seconds=int(2 * _HEARTBEAT.value) + 60,
    shutdown_timeout_seconds=_SHUTDOWN,
  )
  given_up.cancel()


def connect() -> None:
  """Connects all devices of several processes.

  XLA does so at the first collective operation. On CPUs it gives the processes
  30 s to come to it, and after a long compilation some come later.
  """
  if jax.process_count() > 1:
    mesh = distributed.make_mesh()
    ones = jax.make_array_from_callback(
      (mesh.size,), distributed.batch_sharding(mesh), lambda _: np.ones(1)
    )
    jax.block_until_ready(jax.jit(jnp.sum)(ones))


def _check_port(coordinator: str) -> None:
  """JAX's service crashes on a port that another program has."""
  port = int(coordinator.rpartition(":")[2])
  try:
    socket.create_server(("", port)).close()
  except OSError as error:
    raise UserError(
      f"--coordinator={coordinator}: process 0 cannot use port {port} "
      f"({error.strerror}): choose another"
    ) from error


def _give_up(found: cluster.Cluster, join: float) -> NoReturn:
  complain(
    f"error: not all of {found.count} processes have come to "
    f"{found.coordinator} within {join:.0f} s; this is process {found.index}: "
    "look for those that failed before, and whether process 0's host can be "
    "reached from here"
  )
  os._exit(STATUS)


def failed(status: int, *, unforeseen: bool) -> None:
  """Lets the others end too, as this process fails.

  Args:
    status: with which the program then ends.
    unforeseen: whether the loss of another process may be the reason. If it
      is, the watch says so and ends this process.
  """
  if _watch is not None:
    if unforeseen:
      _watch.wait_for_news()
    _watch.fail(status)


def stop() -> None:
  """Leaves the other processes, as the program's end does."""
  if _watch is not None:
    _watch.stop()
