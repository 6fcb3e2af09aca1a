"""Mode report: one HTML page on one or several runs."""

from ml_collections import ConfigDict

from lowdiff_jax import console, files
from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.distributed import is_main
from lowdiff_jax.experiment.errors import naming
from lowdiff_jax.reading import reading
from lowdiff_jax.report import run as reported
from lowdiff_jax.report.page import page


def run(config: ConfigDict, workdir: AnyPath) -> None:
  """Writes workdir/report.html: what the runs' folders hold.

  Besides the run itself these are the runs of config.report.beside.
  """
  others = [name for name in config.report.beside.split(",") if name.strip()]
  with naming("config.report.beside"):
    folders = [files.absolute(files.expanded(name.strip())) for name in others]
  if not is_main():
    return
  runs = reported.read([workdir])
  with naming("config.report.beside"):
    runs = reported.read([workdir, *folders])
  with reading(workdir), console.taking("writing the report"):
    text = page(runs)
  path = workdir / "report.html"
  files.write_text(path, text)
  print(f"{len(runs)} runs in {path}" if others else path)
