"""Tests that compile for TPUs, with libtpu and where there is none."""

import functools
import importlib.util
from collections.abc import Callable
from typing import Any

import pytest

from lowdiff_jax.profiling import slices
from lowdiff_jax.types import UserError

HAS_LIBTPU = importlib.util.find_spec("libtpu") is not None


def for_tpus(test: Callable[..., Any]) -> Callable[..., Any]:
  """The test; without libtpu (x86-64 Linux alone), one that it is asked for."""
  if HAS_LIBTPU:
    return test

  @functools.wraps(test)
  def asked_for(**fixtures):
    del fixtures
    with pytest.raises(UserError, match=r'pip install "jax\[tpu\]"'):
      slices.devices("v5e-1")

  return asked_for
