"""Times the rows of a study side by side: `launch.study` runs it.

  python -m launch.study.speed runs/study two baseline

Reads runs/study/rows and writes runs/study/speed.json.
"""

import argparse
import sys
from pathlib import Path

import jax

from launch.study import page as study_page
from launch.study import table as study_table
from lowdiff_jax.cli.main import keep_compiled_programs
from lowdiff_jax.experiment import run_folder
from lowdiff_jax.profiling import flops, throughput


def main() -> int:
  """Prints the table, writes the file; the exit status."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("workdir", type=Path)
  parser.add_argument("rows", nargs="+")
  args = parser.parse_args()
  keep_compiled_programs()
  records, candidates = study_table.read_rows(args.workdir, args.rows), []
  for name, record in records.items():
    config = study_page.open_config(record["flags"])
    workdir = args.workdir / record["variant"]
    model = run_folder.load(config, workdir)
    experiment = model.experiment
    candidates.append(
      throughput.Candidate(
        name, experiment.stages, experiment.generator, model.params
      )
    )
  section = config.benchmark
  batch_size = model.batch_size(section.batch_size)
  rows = throughput.benchmark(
    candidates,
    batch_size=batch_size,
    repeats=section.repeats,
    peak=flops.peak(config.model.dtype).flops,
  )
  study_table.write_json(
    args.workdir / study_table.SPEED,
    {
      "batch_size": batch_size,
      "repeats": section.repeats,
      "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
      "jax": jax.__version__,
      "flags": {name: record["flags"] for name, record in records.items()},
      "rows": {row["name"]: row for row in rows},
    },
  )
  print(throughput.table([{**row, "scores": None} for row in rows]))
  return 0


if __name__ == "__main__":
  sys.exit(main())
