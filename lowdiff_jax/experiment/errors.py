"""Puts the name of a config field before errors of lower layers."""

import contextlib
from collections.abc import Iterator

from lowdiff_jax import files
from lowdiff_jax.types import UserError


@contextlib.contextmanager
def naming(field: str) -> Iterator[None]:
  """Puts the name of a field before the message of a UserError."""
  try:
    yield
  except files.DiskError:  # It names the file, and no field is wrong.
    raise
  except UserError as error:
    raise UserError(f"{field}: {error}") from error
