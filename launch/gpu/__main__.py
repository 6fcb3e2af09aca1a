"""Measures this project on one GPU, and EDM's PyTorch code beside it.

  git clone https://github.com/NVlabs/edm ~/edm
  python -m launch.gpu --edm ~/edm --torch-python PYTHON

PYTHON is an interpreter with what `launch.compare.edm` names. Without it the
comparisons are left out. Measured are, the most important first: EDM's network
of CIFAR-10 against the published code, LightningDiT-B/1, the same U-Net alone,
and a cascade; images/s, MFU, memory, and whether cuDNN's attention is used.

Each part is a process with a time limit of its own, and leaves NAME.json in
--results: the same command goes on with what is not there. What fails leaves
its error line there and stops no other. Remove a file to measure its part
again. A part whose memory does not suffice begins again with half its batch.
Compiled programs are kept in --results too. In the end everything measured so
far is printed as Markdown, and written as table.md. Exit status 1 if a part
failed.
"""

import argparse
import json
import os
import re
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

from launch.gpu.parts import COMPARISON, Part, parts
from launch.gpu.table import table
from launch.study.jobs import Jobs
from lowdiff_jax import files

_LACK = re.compile("out of memory|RESOURCE_EXHAUSTED", re.IGNORECASE)
_ERROR = re.compile(r"^[\w.]*(Error|Exception|Exit)\b.*|.*: error: .*")


def main() -> int:
  """Measures what is missing and prints the table; the exit status."""
  args = _arguments()
  # A job ends with the program that started it.
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
  folder = args.results / "small" if args.small else args.results
  folder.mkdir(parents=True, exist_ok=True)
  cache = folder.absolute() / "cache"
  os.environ["JAX_COMPILATION_CACHE_DIR"] = str(cache / "jax")
  os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache / "inductor")
  jobs = Jobs(folder / "logs", args.minutes)
  everything = parts(args.small)
  for part in everything:
    if args.parts is not None and part.name not in args.parts:
      continue
    if _path(folder, part).exists():
      failed = "error" in _read(folder, part)
      _say(f"{part.name}: {'failed before' if failed else 'measured already'}")
    elif part.module == COMPARISON and args.torch_python is None:
      _say(f"{part.name}: left out, as it needs --torch-python and --edm")
    else:
      measure(part, jobs, folder, args)
      if not _path(folder, part).exists():
        _say(f"{part.name}: no time left, the same command goes on with it")
  records = {
    part: _read(folder, part)
    for part in everything
    if _path(folder, part).exists()
  }
  text = table(
    records, shlex.join(["python", "-m", "launch.gpu", *sys.argv[1:]])
  )
  files.write_text(folder / "table.md", text + "\n")
  _say(f"\n{text}")
  return int(any("error" in record for record in records.values()))


def _arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--edm", type=files.expanded, help="the published code")
  parser.add_argument("--torch-python", help="an interpreter with PyTorch")
  parser.add_argument("--results", type=files.expanded, default="runs/gpu")
  parser.add_argument("--minutes", type=float, default=12)
  parser.add_argument(
    "--small", action="store_true", help="tiny networks, to try it on a CPU"
  )
  names = [part.name for part in parts(small=False)]
  parser.add_argument("--parts", nargs="+", choices=names, metavar="NAME")
  args = parser.parse_args()
  if (args.edm is None) != (args.torch_python is None):
    parser.error("--edm and --torch-python go together")
  if args.edm and not (args.edm / "training" / "networks.py").is_file():
    parser.error(f"--edm {args.edm}: there is no training/networks.py in it")
  return args


def _say(text: str) -> None:
  print(text, flush=True)


def _path(folder: Path, part: Part) -> Path:
  return folder / f"{part.name}.json"


def _read(folder: Path, part: Part) -> dict[str, Any]:
  """What a part has written."""
  return json.loads(_path(folder, part).read_text())


def measure(
  part: Part, jobs: Jobs, folder: Path, args: argparse.Namespace
) -> None:
  """Runs a part until it has written its file, or an error line there."""
  path, size = _path(folder, part), part.batch_size
  common = [f"--json={path}"]
  if part.module == COMPARISON:
    common += [f"--edm={args.edm}", f"--torch-python={args.torch_python}"]
    size = min([size, *_batch_sizes(folder, args)])
  own_limit = 60 * part.minutes
  while True:
    spare = max(0.0, jobs.left() - own_limit)
    log = folder / "logs" / f"{part.name}.log"
    before = log.stat().st_size if log.exists() else 0
    flags = [*part.flags, f"--batch-size={size}", *common]
    done = jobs.run(part.name, ["-m", part.module, *flags], spare)
    if done is None or done.well:
      return
    said = done.log.read_bytes()[before:].decode(errors="replace")
    if part.name not in jobs.failed:
      if spare:
        error = f"it took more than {part.minutes:g} minutes"
        files.write_json(path, {"error": error})
      return
    jobs.failed.remove(part.name)
    if not _LACK.search(said) or size == 1:
      files.write_json(path, {"error": _error_line(said)})
      return
    size //= 2


def _batch_sizes(folder: Path, args: argparse.Namespace) -> list[int]:
  """Of the comparisons so far: all are to have one."""
  found: list[Any] = [
    _read(folder, part).get("batch_size")
    for part in parts(args.small)
    if part.module == COMPARISON and _path(folder, part).exists()
  ]
  return [size for size in found if size]


def _error_line(said: str) -> str:
  """The last line that names an error, or the last of all."""
  lines = [line.strip() for line in said.splitlines() if line.strip()]
  errors = [line for line in lines if _ERROR.match(line)]
  return [*lines[-1:], *errors][-1] if lines else "no message"


if __name__ == "__main__":
  sys.exit(main())
