"""What a run says while it works, and what it does not."""

import re
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from lowdiff_jax import console
from lowdiff_jax.generate.generator import Request
from tests import command_line, tiny


@pytest.fixture
def impatient(monkeypatch):
  """All work is announced at once."""
  monkeypatch.setattr(console, "PATIENCE", 0.0)


@pytest.fixture
def compiled():
  """The names of the programs that are compiled from now on."""
  names = []

  def listen(event, seconds, **about):
    del seconds
    if event == "/jax/core/compile/backend_compile_duration":
      names.append(about.get("fun_name"))

  jax.monitoring.register_event_duration_secs_listener(listen)
  yield names
  jax.monitoring.unregister_event_duration_listener(listen)


def test_long_work_says_what_it_is_and_how_long_it_took(capsys):
  with console.taking("counting", patience=0.05):
    time.sleep(0.02)
    assert capsys.readouterr().out == ""
    time.sleep(0.2)
    assert capsys.readouterr().out == "counting ...\n"
  assert capsys.readouterr().out == "counting took 0 s\n"


def test_short_work_is_silent(capsys):
  with console.taking("counting", patience=60):
    pass
  assert capsys.readouterr() == ("", "")


def test_work_that_fails_did_not_take_long(capsys):
  with pytest.raises(KeyError), console.taking("counting", patience=0):
    time.sleep(0.05)
    raise KeyError
  assert capsys.readouterr().out == "counting ...\n"


def test_quiet(capsys, monkeypatch):
  monkeypatch.setattr(console, "_quiet", False)
  console.set_quiet(True)
  assert not console.speaks()
  console.say("nothing")
  assert capsys.readouterr().out == ""
  console.set_quiet(False)
  console.say("something")
  assert capsys.readouterr().out == "something\n"


def test_training_and_sampling_programs_compile_once(
  impatient, compiled, capsys
):
  parts = tiny.new_experiment()
  state, key = parts.init(), jax.random.key(0)
  for _ in range(2):
    state, _ = parts.step(state, key, tiny.batch())
  for _ in range(2):
    parts.validate(state.ema_params, tiny.batch())
  program = parts.generator.program(parts.stages)
  request = Request(np.arange(16), batch_size=8)
  list(parts.generator.generate(program, state.params, request))
  other = request._replace(batch_size=16)
  list(parts.generator.generate(program, state.params, other))
  said = capsys.readouterr().out
  for what, name, times in (
    ("training step", "train_step", 1),
    ("validation", "validation_loss", 1),
    ("sampler", "generate", 2),  # One for each batch size.
  ):
    assert len(re.findall(f"compiling the {what} took", said)) == times, said
    assert sum(name in str(one) for one in compiled) == times, compiled


WARN = r"""
import warnings
from absl import app, logging
from lowdiff_jax.cli import faults

def main(argv):
  name = "bad\nerror: fake.png\x1b[31m"
  logging.warning("skipped %s", name)
  warnings.warn(f"skipped {name}")
  try:
    1 / 0
  except ZeroDivisionError:
    logging.exception("not %s", name)

faults.quiet_libraries()
app.run(main)
"""


def test_a_warning_is_one_line_whatever_a_file_is_called():
  done = subprocess.run(
    [sys.executable, "-c", WARN],
    cwd=command_line.REPOSITORY,
    env=command_line.environment(),
    capture_output=True,
    text=True,
    check=True,
  )
  first, second, third, *trace = done.stderr.splitlines()
  assert first == r"WARNING: skipped bad\nerror: fake.png\x1b[31m"
  assert second == r"WARNING: skipped bad error: fake.png\x1b[31m"
  assert third == r"ERROR: not bad\nerror: fake.png\x1b[31m"
  assert trace[0].startswith("Traceback ")
  assert trace[-1] == "ZeroDivisionError: division by zero"
