"""Models of a hub, hf://OWNER/NAME, through huggingface_hub.

Of a repository only the three files of a model folder are fetched, or the one
file that is named. None of them is run, and the SHA of each is compared with
what the hub says of it. A token is found as huggingface_hub finds it (HF_TOKEN,
or `hf auth login`), and the hub is HF_ENDPOINT's.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from lowdiff_jax import files
from lowdiff_jax.reading import reason
from lowdiff_jax.types import UserError

PREFIX = "hf://"
# Of a model folder; nothing else is fetched or published.
FILES = ("README.md", "config.json", "model.safetensors")


class Address(NamedTuple):
  """What hf://OWNER/NAME@REVISION/FILE names.

  Attributes:
    repository: OWNER/NAME.
    revision: branch, tag or commit; None for the newest.
    file: of the repository; "" for the model folder.
  """

  repository: str
  revision: str | None
  file: str


def is_address(text: object) -> bool:
  """Whether it is of a hub."""
  return isinstance(text, str) and text.startswith(PREFIX)


def parse(text: str) -> Address:
  """The parts of an address.

  Raises:
    UserError: it is none.
  """
  parts = text.removeprefix(PREFIX).split("/")
  if len(parts) < 2 or not all(parts) or ".." in parts:
    raise UserError(
      f"{text}: expected {PREFIX}OWNER/NAME or {PREFIX}OWNER/NAME/FILE, with "
      "@REVISION behind NAME for a certain one"
    )
  owner, name, *rest = parts
  name, _, revision = name.partition("@")
  return Address(f"{owner}/{name}", revision or None, "/".join(rest))


def fetch(text: str) -> Path:
  """A model folder or a file of a hub, on this disk.

  Args:
    text: the address, see `parse`.

  Returns:
    The path, in huggingface_hub's cache.

  Raises:
    UserError: there is no such repository or file, the hub does not answer, or
      what came is not what the hub says it is.
  """
  address = parse(text)
  hub = _library()
  with _naming(text):
    info = hub.HfApi().model_info(
      address.repository, revision=address.revision, files_metadata=True
    )
    known = {one.rfilename: one for one in info.siblings or ()}
    wanted = [name for name in FILES if name in known]
    if address.file:
      wanted = [address.file]
    for name in wanted:
      if name not in known:
        raise UserError(f"{text}: the repository has no file {name}")
      found = hub.hf_hub_download(address.repository, name, revision=info.sha)
      path = Path(found)
      _check(path, known[name])
  if not wanted:
    raise UserError(f"{text} holds none of {', '.join(FILES)}")
  return path if address.file else path.parent


def push(folder: Path, repository: str) -> str:
  """Publishes a model folder.

  Args:
    folder: that mode export has written.
    repository: OWNER/NAME; is made if it is not there.

  Returns:
    The address of its page.

  Raises:
    UserError: a file is missing, there is no token, or the hub refuses.
  """
  if parse(f"{PREFIX}{repository}") != (repository, None, ""):
    raise UserError(f"{repository}: expected OWNER/NAME")
  for name in FILES:
    if not (folder / name).is_file():
      raise UserError(
        f"{folder} has no {name}: name a folder that --mode=export has written"
      )
  api = _library().HfApi()
  with _naming(f"{PREFIX}{repository}"):
    page = api.create_repo(repository, exist_ok=True)
    api.upload_folder(
      repo_id=repository,
      folder_path=folder,
      allow_patterns=list(FILES),
      commit_message="Model of lowdiff_jax",
    )
  return str(page)


def _library() -> Any:
  try:
    import huggingface_hub
    import huggingface_hub.utils
  except ModuleNotFoundError as error:
    raise UserError(
      f"{PREFIX} needs {error.name}: pip install 'lowdiff_jax[hub]'"
    ) from error
  huggingface_hub.utils.disable_progress_bars()
  return huggingface_hub


def _check(path: Path, known: Any) -> None:
  """Compares a file with the sum that the hub has of it.

  That is the SHA-256 of a large file, and of others Git's SHA-1 of the blob.
  """
  if known.lfs is not None:
    expected, found = known.lfs.sha256, files.sha256(path)
  else:
    content = path.read_bytes()
    head = f"blob {len(content)}\0".encode()
    expected = known.blob_id
    found = hashlib.sha1(head + content, usedforsecurity=False).hexdigest()
  if expected != found:
    raise UserError(
      f"{path} is damaged (its sum is {found[:12]}..., the hub says "
      f"{str(expected)[:12]}...): delete it, and it is fetched again"
    )


@contextlib.contextmanager
def _naming(address: str) -> Iterator[None]:
  """Turns what the library raises into a UserError that names the address."""
  try:
    yield
  except UserError:
    raise
  except Exception as error:  # Of HTTP, of names, of the network, of the disk.
    status = getattr(getattr(error, "response", None), "status_code", 0)
    way_out = {
      401: "check the name; if it is private, set HF_TOKEN",
      403: "this needs another HF_TOKEN",
      404: "check the name",
    }.get(status, "try again later, or check HF_ENDPOINT")
    what = f"the hub says {status}" if status else reason(error)
    raise UserError(f"{address}: {what}; {way_out}") from error
