"""The rows of the study of configs/study_cifar10.py."""

from typing import Any


def _tuned(*steps: int) -> dict[str, Any]:
  """A schedule that --mode=tune has found, up to the steps."""
  fields: dict[str, Any] = {}
  for k, side in enumerate((8, 16, 32)):
    stage = {
      "sampler": "euler",
      "steps": steps[k],
      "sigma_max": (10.0, 1.35, 1.04)[k],
      "sigma_min": (0.02, 0.02, 0.05)[k],
      "rho": (7.0, 7.0, 10.0)[k],
      "low_res_sigma": (0.0, 0.1, 0.05)[k],
    }
    fields |= {f"stages.s{side}.{name}": value for name, value in stage.items()}
  return fields


def _baseline(sampler: str, steps: int, **fields: float) -> dict[str, Any]:
  named = {f"baseline.{name}": value for name, value in fields.items()}
  return {"baseline.sampler": sampler, "baseline.steps": steps, **named}


# A variant of the page, and how its run is sampled otherwise; each variant also
# is a row of its own name.
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
  # Not handed off: the higher resolution starts from noise as the lower does,
  "noise": (
    "two",
    {
      "stages.s32.start": "noise",
      "stages.s32.sigma_max": 80.0,
      "stages.s32.steps": 18,
    },
  ),
  # ... or at the handoff's level, where it should still see the image.
  "noise_1.04": ("two", {"stages.s32.start": "noise"}),
  # At 2, 4, 16 and 32 times the residuals instead of 8.
  **{
    f"handoff_{sigma}": ("two", {"stages.s32.sigma_max": sigma})
    for sigma in (0.26, 0.52, 2.08, 4.16)
  },
  # The noise added to the condition, else 0.05.
  **{
    f"condition_{sigma}": ("two", {"stages.s32.low_res_sigma": sigma})
    for sigma in (0.0, 0.1, 0.2)
  },
  # What --mode=tune has found for the baseline, and near it.
  **{
    f"euler_{steps}": ("baseline", _baseline("euler", steps, rho=10.0))
    for steps in (10, 6, 5, 4)
  },
  # ... and for the cascade. The last number is what the last stage needs.
  **{
    "tuned_" + "_".join(map(str, steps)): ("three_residual", _tuned(*steps))
    for steps in ((7, 6, 4), (7, 6, 2), (7, 6, 1), (4, 5, 1), (4, 3, 1))
  },
  **{
    f"dpmpp_{steps}": ("baseline", _baseline("dpmpp_2m", steps))
    for steps in (18, 12, 8, 5)
  },
}
