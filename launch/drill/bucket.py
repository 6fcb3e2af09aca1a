"""A bucket without a cloud: an emulator of Google Cloud Storage on this host.

  python -m launch.drill.bucket

prints its address and serves the bucket BUCKET, in memory, until its input
ends. To the emulator it adds what TensorStore and locks need of the real store:
the generation of an object that is read, and the precondition of a write.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

BUCKET = "bucket"
ROOT = f"gs://{BUCKET}"
_REPOSITORY = Path(__file__).parent.parent.parent


class Emulator(NamedTuple):
  """An emulator that serves.

  Attributes:
    process: of its own.
    environment: variables that send gcsfs and TensorStore there, without
      credentials.
  """

  process: subprocess.Popen[str]
  environment: dict[str, str]


@contextlib.contextmanager
def served() -> Iterator[Emulator]:
  """Yields an emulator, which ends with the block."""
  process = subprocess.Popen(
    [sys.executable, "-m", "launch.drill.bucket"],
    cwd=_REPOSITORY,
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
  )
  assert process.stdout is not None
  try:
    address = process.stdout.readline().strip()
    yield Emulator(
      process,
      {
        "STORAGE_EMULATOR_HOST": address,
        "TENSORSTORE_GCS_HTTP_URL": address,
        "FSSPEC_GCS_TOKEN": "anon",
      },
    )
  finally:
    process.communicate()


def main() -> None:
  """Serves until the input ends."""
  from gcp_storage_emulator import server
  from gcp_storage_emulator.exceptions import NotFound
  from gcp_storage_emulator.handlers import objects

  def generation(request: Any, storage: Any, name: str) -> str:
    try:
      found = storage.get_file_obj(request.params["bucket_name"], name)
    except NotFound:
      return "0"
    return found["generation"]

  def insert(
    request: Any, response: Any, storage: Any, *args: Any, **kwargs: Any
  ) -> None:
    query = request.query
    if "ifGenerationMatch" in query and "upload_id" not in query:
      data = request.data  # To be read in any case.
      name = query["name"][0] if "name" in query else data["meta"]["name"]
      if generation(request, storage, name) != query["ifGenerationMatch"][0]:
        response.status = HTTPStatus.PRECONDITION_FAILED
        return
    objects.insert(request, response, storage, *args, **kwargs)

  def get(
    request: Any, response: Any, storage: Any, *args: Any, **kwargs: Any
  ) -> None:
    objects.get(request, response, storage, *args, **kwargs)
    name = request.params["object_id"]
    response["x-goog-generation"] = generation(request, storage, name)

  ours = {objects.insert: insert, objects.get: get}
  for _, handlers in server.HANDLERS:
    for method, handler in handlers.items():
      handlers[method] = ours.get(handler, handler)
  one = server.create_server("localhost", 0, True, default_bucket=BUCKET)
  one.start()
  print(f"http://localhost:{one._api._httpd.server_address[1]}", flush=True)
  sys.stdin.read()
  os._exit(0)


if __name__ == "__main__":
  main()
