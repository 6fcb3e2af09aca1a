"""Plants small wrongs, one at a time, and runs the tests that should notice.

  python -m launch.mutants [--only=TEXT] [--least=0.95]

The tests are those of tests/diffusion, tests/train and
tests/models/test_denoiser.py. Prints each wrong that no test noticed, and the
share of those that were. Exit status 1 if it is below --least. The repository
itself is not touched: the wrongs are planted in a copy.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from launch.mutants import planted, planted_sampling
from launch.mutants.planted import Mutant

REPOSITORY = Path(__file__).parent.parent.parent
MUTANTS = (*planted.MUTANTS, *planted_sampling.MUTANTS)
DENOISER = "tests/models/test_denoiser.py"
TESTS = ("tests/diffusion", DENOISER, "tests/train")
# Where a wrong is most likely noticed, to be quick.
FIRST = {
  "diffusion/conditioning.py": "tests/diffusion/test_conditioning.py",
  "diffusion/loss.py": "tests/diffusion/test_cascade_loss.py",
  "diffusion/sampler.py": "tests/diffusion/test_sampler.py",
  "diffusion/settings.py": "tests/diffusion/test_settings.py",
  "diffusion/steps.py": "tests/diffusion/test_sampler.py",
  "models/unified.py": DENOISER,
  "train/checkpoint.py": "tests/train/test_checkpoint.py",
  "train/checkpoint_reader.py": "tests/train/test_checkpoint.py",
  "train/ema.py": "tests/train/test_averages.py",
  "train/gradient.py": "tests/train/test_gradient.py",
  "train/log.py": "tests/train/test_loop.py",
  "train/loop.py": "tests/train/test_loop.py",
  "train/manifest.py": "tests/train/test_checkpoint.py",
  "train/objective.py": "tests/train/test_objective.py",
  "train/optimizer.py": "tests/train/test_averages.py",
  "train/schedule.py": "tests/train/test_loop.py",
  "train/state.py": "tests/train/test_averages.py",
  "train/step.py": "tests/train/test_averages.py",
  "train/writer.py": "tests/train/test_metrics.py",
}
# A wrong may also make a test wait for ever.
TIMEOUT = 900


def plant(root: Path, mutant: Mutant) -> str:
  """Changes a file of a copy; returns its text as it was.

  Raises:
    ValueError: the expression does not occur exactly once.
  """
  path = root / "lowdiff_jax" / mutant.file
  text = path.read_text()
  count = text.count(mutant.old)
  if count != 1:
    raise ValueError(f"{mutant.file}: {mutant.old!r} occurs {count} times")
  path.write_text(text.replace(mutant.old, mutant.new))
  return text


def is_caught(root: Path, mutant: Mutant) -> bool:
  """Whether a test fails with this wrong."""
  command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0"]
  first = FIRST.get(mutant.file, "tests/diffusion/test_cascade.py")
  command += ["-p", "no:cacheprovider", first, *TESTS]
  before = plant(root, mutant)
  try:
    done = subprocess.run(
      command, cwd=root, capture_output=True, timeout=TIMEOUT, check=False
    )
  except subprocess.TimeoutExpired:
    return True
  finally:
    (root / "lowdiff_jax" / mutant.file).write_text(before)
  return done.returncode != 0


def copy_tracked(root: Path) -> None:
  """Copies the files that git tracks."""
  listed = subprocess.run(
    ["git", "ls-files"],
    cwd=REPOSITORY,
    capture_output=True,
    text=True,
    check=True,
  )
  for name in listed.stdout.splitlines():
    if (REPOSITORY / name).is_file():
      (root / name).parent.mkdir(parents=True, exist_ok=True)
      shutil.copyfile(REPOSITORY / name, root / name)


def main() -> int:
  """Prints what was found; the exit status."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--only", default="", help="those of files with this")
  parser.add_argument("--least", type=float, default=0.95)
  args = parser.parse_args()
  chosen = [mutant for mutant in MUTANTS if args.only in mutant.file]
  missed = []
  with tempfile.TemporaryDirectory() as folder:
    root = Path(folder)
    copy_tracked(root)
    for number, mutant in enumerate(chosen, 1):
      since = time.monotonic()
      caught = is_caught(root, mutant)
      if not caught:
        missed.append(mutant)
      print(
        f"{number:3}/{len(chosen)} {'caught' if caught else 'MISSED'} "
        f"{time.monotonic() - since:4.0f} s  {mutant.file}: "
        f"{mutant.old.strip()!r} -> {mutant.new.strip()!r}",
        flush=True,
      )
  share = 1 - len(missed) / max(1, len(chosen))
  print(f"{len(chosen) - len(missed)} of {len(chosen)} caught: {share:.1%}")
  return int(share < args.least)


if __name__ == "__main__":
  sys.exit(main())
