"""A run's newest checkpoint is damaged, or its bucket does not answer."""

import argparse
import math
import os
import signal
import time
from pathlib import Path

from etils import epath

from launch.drill import bucket, training
from launch.drill.training import Event, Run
from lowdiff_jax.train import watchdog

IMAGES = 160
# Seconds for which the bucket stands still, and in which a run should end.
OUTAGE, PATIENCE = 60.0, 600.0


def damage(place: str, run: Run) -> Event:
  """Stops a run, damages its newest checkpoint, and goes on to the end."""
  (program,) = run.start_and_train()
  program.process.send_signal(signal.SIGTERM)
  training.end([program], PATIENCE)
  stopped = program.process.returncode
  folder = run.workdir / "checkpoints"
  newest, before = run.newest(), run.newest(but=1)
  files = (folder / str(newest)).glob("state/ocdbt.process_0/d/*")
  victim = max(files, key=lambda path: len(path.read_bytes()))
  content = bytearray(victim.read_bytes())
  content[len(content) // 2] ^= 1
  victim.write_bytes(bytes(content))
  programs = run.start()
  seconds = training.end(programs, PATIENCE)
  errors = programs[0].errors()
  wrong = {
    f"status {stopped} of the first start": stopped != 128 + signal.SIGTERM,
    f"status {programs[0].process.returncode}": programs[0].process.returncode
    != 0,
    f"did not go on at step {before}": training.resumed(before)
    not in programs[0].printed(),
    "did not name the file": f"{victim} is damaged" not in errors,
    "did not set the checkpoint aside": not (
      folder / f"{newest}.damaged"
    ).exists(),
  }
  return training.event(
    f"one bit of a checkpoint {place}", run, seconds, wrong, errors
  )


def outage(run: Run, emulator: bucket.Emulator) -> Event:
  """Stops the bucket while the run trains, and lets it go on after OUTAGE."""
  (program,) = run.start_and_train()
  emulator.process.send_signal(signal.SIGSTOP)
  time.sleep(OUTAGE)
  ended = program.process.poll()
  emulator.process.send_signal(signal.SIGCONT)
  seconds = training.end([program], PATIENCE)
  status, errors = program.process.returncode, program.errors()
  lines = training.told(errors)
  wrong = {
    "did not end": math.isinf(seconds),
    "ended before it wrote": ended == 0,
    f"status {status}": status not in (0, watchdog.STATUS),
    f"{len(lines)} lines of errors": len(lines) != (status != 0),
    "a traceback": "Traceback" in errors,
  }
  went_on = "went on" if status == 0 else "ended, and was started again"
  return training.event(
    f"no answer for {OUTAGE:.0f} s: {went_on}", run, seconds, wrong, errors
  )


def drill(root: Path, args: argparse.Namespace) -> list[str]:
  """Each event once; what was not as it should be."""
  del args
  fields = training.fields(root, IMAGES)
  calm = Run(root / "calm", fields)
  faults = [calm.finish()]
  with bucket.served() as emulator:
    # Of the programs, and of this one, which compares.
    os.environ.update(emulator.environment)
    disk = Run(root / "disk", fields)
    there, away = (
      Run(epath.Path(f"{bucket.ROOT}/{name}"), fields)
      for name in ("there", "away")
    )
    for event, run in (
      (damage("on a disk", disk), disk),
      (damage("in a bucket", there), there),
      (outage(away, emulator), away),
    ):
      faults += [run.finish(), *training.summary([event], run, calm)]
  return faults
