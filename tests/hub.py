"""A hub in this process: the endpoints that huggingface_hub needs of it."""

import base64
import contextlib
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_test"
COMMIT = "c" * 40


class Hub(ThreadingHTTPServer):
  """Repositories as dicts: {"owner/name": {file: bytes}}."""

  def __init__(self):
    super().__init__(("127.0.0.1", 0), _Handler)
    self.repositories, self.objects, self.requests = {}, {}, []
    self.address = f"http://127.0.0.1:{self.server_address[1]}"


@contextlib.contextmanager
def served():
  """Yields the hub."""
  server = Hub()
  threading.Thread(target=server.serve_forever, daemon=True).start()
  yield server
  server.shutdown()
  server.server_close()


def _info(content, name):
  """A file as /api/models tells of it; safetensors are stored as LFS."""
  head = f"blob {len(content)}\0".encode()
  told = {
    "rfilename": name,
    "size": len(content),
    "blobId": hashlib.sha1(head + content).hexdigest(),
  }
  if name.endswith(".safetensors"):
    sha256 = hashlib.sha256(content).hexdigest()
    told["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 134}
  return told


class _Handler(BaseHTTPRequestHandler):
  protocol_version = "HTTP/1.1"

  def log_message(self, *unused):
    pass

  def _answer(self, status=200, body=b"", **headers):
    if not isinstance(body, bytes):
      body = json.dumps(body).encode()
      headers["Content-Type"] = "application/json"
    self.send_response(status)
    for name, value in headers.items():
      self.send_header(name.replace("_", "-"), value)
    self.send_header("Content-Length", str(len(body)))
    self.end_headers()
    if self.command != "HEAD":
      self.wfile.write(body)

  def _repository(self, path):
    found = self.server.repositories
    return next((name for name in found if f"/{name}" in path), None)

  def do_GET(self):
    path = self.path.partition("?")[0]
    self.server.requests.append(f"{self.command} {path}")
    name = self._repository(path)
    if name is None:
      self._answer(404, X_Error_Code="RepoNotFound")
    elif path.startswith("/api/models/"):
      files = self.server.repositories[name].items()
      told = [_info(content, file) for file, content in files]
      self._answer(body={"id": name, "sha": COMMIT, "siblings": told})
    else:
      content = self.server.repositories[name][path.rpartition("/")[2]]
      tag = hashlib.sha256(content).hexdigest()
      self._answer(body=content, ETag=f'"{tag}"', X_Repo_Commit=COMMIT)

  do_HEAD = do_GET  # noqa: N815

  def do_POST(self):
    path, hub = self.path.partition("?")[0], self.server
    hub.requests.append(f"POST {path}")
    sent = self.rfile.read(int(self.headers["Content-Length"]))
    if path == "/api/validate-yaml":
      self._answer(body={"errors": [], "warnings": []})
    elif self.headers["Authorization"] != f"Bearer {TOKEN}":
      self._answer(401)
    elif path == "/api/repos/create":
      told = json.loads(sent)
      name = "/".join(filter(None, (told.get("organization"), told["name"])))
      hub.repositories.setdefault(name, {})
      self._answer(body={"url": f"{hub.address}/{name}", "name": name})
    elif "/preupload/" in path:
      for file in (told := json.loads(sent))["files"]:
        large = file["path"].endswith(".safetensors")
        file["uploadMode"] = "lfs" if large else "regular"
        file["shouldIgnore"] = False
      self._answer(body=told)
    elif path.endswith("/info/lfs/objects/batch"):
      (one,) = json.loads(sent)["objects"]
      upload = {"href": f"{hub.address}/lfs/{one['oid']}"}
      one["actions"] = {"upload": upload}
      self._answer(body={"transfer": "basic", "objects": [one]})
    else:
      self._commit(self._repository(path), sent)

  def _commit(self, name, sent):
    files = self.server.repositories[name]
    for line in map(json.loads, sent.splitlines()):
      value = line["value"]
      if line["key"] == "file":
        files[value["path"]] = base64.b64decode(value["content"])
      elif line["key"] == "lfsFile":
        files[value["path"]] = self.server.objects[value["oid"]]
    address = f"{self.server.address}/{name}/commit/{COMMIT}"
    self._answer(body={"commitOid": COMMIT, "commitUrl": address})

  def do_PUT(self):
    content = self.rfile.read(int(self.headers["Content-Length"]))
    self.server.requests.append(f"PUT {self.path}")
    self.server.objects[self.path.rpartition("/")[2]] = content
    self._answer()
