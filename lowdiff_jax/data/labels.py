"""Class labels of a data set, checked."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import logging

from lowdiff_jax.types import UserError

# More than ImageNet-21k has; an embedding has a row for each.
MAX_CLASSES = 100_000
# Classes in one line of a warning.
NAMED = 5


def check_labels(values: Any, count: int, where: str) -> np.ndarray:
  """Labels as int32.

  Args:
    values: [count] classes, counted from 0.
    count: number of images.
    where: they are from, for messages.

  Returns:
    [count] int32.

  Raises:
    UserError: another number of labels, or values that are no classes.
  """
  try:
    labels = np.asarray(values)
    numbers = labels.astype(np.float64)
  except (ValueError, TypeError, OverflowError) as error:
    raise UserError(f"{where}: labels are no integers ({error})") from error
  if labels.shape != (count,) or labels.dtype.kind not in "iuf":
    raise UserError(
      f"{where}: labels are {labels.dtype} {labels.shape}: expected one class "
      f"of at least 0 for each of {count} images"
    )
  wrong = ~((numbers >= 0) & (numbers < MAX_CLASSES) & (numbers % 1 == 0))
  if wrong.any():
    raise UserError(
      f"{where}: the label of image {wrong.argmax()} is "
      f"{labels[wrong][0]}: expected a class, 0 to {MAX_CLASSES - 1}"
    )
  return labels.astype(np.int32)


def name_untrained(
  classes: Sequence[str], labels: np.ndarray, where: str
) -> None:
  """Warns of classes without a training image.

  Args:
    classes: their names.
    labels: [N] of the training images.
    where: they are from.
  """
  counts = np.bincount(labels, minlength=len(classes))
  lacking = [name for name, n in zip(classes, counts, strict=True) if not n]
  if lacking:
    named = ", ".join(lacking[:NAMED])
    more = ", ..." if len(lacking) > NAMED else ""
    logging.warning(
      "%d classes of %s have no training image: %s%s",
      *(len(lacking), where, named, more),
    )
