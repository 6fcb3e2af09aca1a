"""Latents that several tests read."""

import pytest

from lowdiff_jax.data import images
from tests.data.latent_writer import write


@pytest.fixture(scope="module")
def written(tmp_path_factory):
  """A folder of latents, not to be changed."""
  return write(tmp_path_factory.mktemp("latents"))


@pytest.fixture
def lazy(monkeypatch):
  """No split is small enough to be held in memory."""
  monkeypatch.setattr(images, "MEMORY_LIMIT", 0)
