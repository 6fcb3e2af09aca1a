"""What is known of a data set of latents."""

from typing import Any, NamedTuple

import numpy as np


class LatentInfo(NamedTuple):
  """What is known of a set of latents.

  Attributes:
    mean: [C] float32 of the training latents of the highest resolution.
    std: [C] float32 of the same.
    resolutions: of the latents in a record, lowest first.
    provenance: how they were made, as it was given to the writer.
    id: the SHA-256 of the manifest, and so of all that is in the set.
  """

  mean: np.ndarray
  std: np.ndarray
  resolutions: tuple[int, ...]
  provenance: dict[str, Any]
  id: str

  def to_json(self) -> dict[str, Any]:
    """JSON values that `from_json` reads."""
    return self._asdict() | {
      "mean": self.mean.tolist(),
      "std": self.std.tolist(),
    }

  @classmethod
  def from_json(cls, values: dict[str, Any]) -> "LatentInfo":
    """The inverse of `to_json`."""
    return cls(**values)._replace(
      mean=np.array(values["mean"], np.float32),
      std=np.array(values["std"], np.float32),
      resolutions=tuple(values["resolutions"]),
    )
