"""Which images of a set without a test split are held out."""

import numpy as np
from absl import logging


def hold_out(
  count: int, part: float, labels: np.ndarray | None = None
) -> tuple[list[int], list[int]]:
  """(train, test): which images of a set without a test split are held out.

  Args:
    count: number of images.
    part: to hold out, evenly spread and at least two images: with 0.1, every
      tenth. With 0, all are trained on and every tenth of them is "held out",
      so that the validation loss is one of training images.
    labels: [count] classes; of each that has two images or more at least one
      is held out and one trained on. None or `NO_LABEL` without classes.

  Returns:
    The indices of both.
  """
  share = part or 0.1
  numbers = np.arange(count)
  held = ((numbers + 1) * share).astype(int) > (numbers * share).astype(int)
  if held.sum() < 2:
    held[:] = numbers >= count - 2
  test = numbers[held]
  if not part:
    return numbers.tolist(), test.tolist()
  if labels is not None:
    _spread_over_classes(held, np.asarray(labels))
    if held.sum() < 2:
      logging.warning(
        "no class can spare an image to validate on: training images validate"
      )
      return numbers.tolist(), test.tolist()
  return numbers[~held].tolist(), numbers[held].tolist()


def _spread_over_classes(held: np.ndarray, labels: np.ndarray) -> None:
  """Changes `held` [N] so that each class can be trained and validated on."""
  order = np.argsort(labels, kind="stable")
  starts = np.flatnonzero(np.diff(labels[order])) + 1
  classes = np.split(order, starts)
  for images in classes:
    if held[images].all():
      held[images[0]] = False
    elif len(images) > 1 and not held[images].any():
      held[images[-1]] = True
  # Two at least.
  for images in sorted(classes, key=len, reverse=True):
    left = images[~held[images]]
    if held.sum() < 2 and len(left) > 1:
      held[left[-1]] = True
