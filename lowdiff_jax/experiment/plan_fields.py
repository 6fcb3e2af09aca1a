"""Fields of mode plan."""

from lowdiff_jax.experiment.rules import choice, integer, sequence
from lowdiff_jax.experiment.schema import Field
from lowdiff_jax.profiling.slices import SLICES

PLAN_FIELDS = (
  Field(
    "plan.slice",
    "v5e-8",
    choice(*SLICES),
    "accelerators to compile for; this machine needs none",
  ),
  Field(
    "plan.programs",
    ("training", "sampling"),
    sequence(choice("training", "sampling"), least=1),
    "what to compile",
  ),
  Field(
    "plan.num_classes",
    -1,
    integer(-1),
    "classes of images that are not here; -1: as the data says",
  ),
  Field(
    "plan.tries",
    6,
    integer(0),
    "programs to compile in search of overrides that fit",
  ),
)
