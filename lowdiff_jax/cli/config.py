"""Mode config: every field with its value and documentation."""

from ml_collections import ConfigDict

from lowdiff_jax.buckets import AnyPath
from lowdiff_jax.distributed import is_main
from lowdiff_jax.experiment.defaults import of_same_kind
from lowdiff_jax.experiment.fields import SCHEMA
from lowdiff_jax.experiment.schema import leaves, stage_names


def run(config: ConfigDict, workdir: AnyPath) -> None:
  """Prints the fields; * marks those that differ from their default."""
  del workdir
  if is_main():
    print(table(config))


def table(config: ConfigDict) -> str:
  """A line for each field, "* name = value  # documentation, default"."""
  values, defaults = leaves(config), leaves(of_same_kind(config))
  rows = []
  for name, field, _ in SCHEMA.fields(values, stage_names(config)):
    changed = values[name] != defaults[name]
    doc = field.doc
    if changed:
      doc += f"; default {defaults[name]!r}"
    if field.trained:
      doc += " [fixed by training]"
    text = f"{name} = {values[name]!r}"
    rows.append((f"{'*' if changed else ' '} {text}", doc))
  width = max(len(text) for text, _ in rows if len(text) < 60)
  return "\n".join(f"{text:{width}}  # {doc}" for text, doc in rows)
