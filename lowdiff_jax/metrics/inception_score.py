"""The Inception Score (arXiv 1606.03498)."""

import numpy as np
from scipy.special import log_softmax

from lowdiff_jax.types import UserError

SPLITS, SEED = 10, 2020
PROTOCOL = f"{SPLITS} splits after a fixed permutation, 1008 classes, no bias"


def inception_score(
  logits: np.ndarray, splits: int = SPLITS
) -> tuple[float, float]:
  """exp(E_x KL(p(y|x) || p(y))), over splits of the images.

  Salimans et al. (arXiv 1606.03498, section 4). Images are permuted first, as
  in torch-fidelity: splits of images sorted by class would hold few classes.

  Args:
    logits: [N,classes].
    splits: number of splits.

  Returns:
    Mean and standard deviation over the splits.

  Raises:
    UserError: fewer images than splits.
  """
  count = len(logits)
  if count < splits:
    raise UserError(
      f"an inception score needs at least {splits} images, not {count}"
    )
  order = np.random.RandomState(SEED).permutation(count)
  ends = np.arange(splits + 1) * count // splits
  scores = []
  for i in range(splits):
    part = logits[order[ends[i] : ends[i + 1]]].astype(np.float64)
    log_p = log_softmax(part, axis=1)
    p = np.exp(log_p)
    scores.append(np.exp((p * (log_p - np.log(p.mean(0)))).sum(1).mean()))
  return float(np.mean(scores)), float(np.std(scores))
