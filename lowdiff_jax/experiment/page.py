"""What all config pages share: their arguments, and `smoke`."""

from ml_collections import ConfigDict


def chosen(arguments: str, *known: str) -> set[str]:
  """The arguments of a page, as in --config=configs/cifar10.py:cond,small.

  Args:
    arguments: what stands behind the colon.
    *known: what the page understands.

  Returns:
    The arguments given.

  Raises:
    ValueError: an argument that the page does not know.
  """
  given = set(filter(None, arguments.split(",")))
  if unknown := given - set(known):
    raise ValueError(f"unknown argument {unknown.pop()!r}: {', '.join(known)}")
  return given


def smoke(config: ConfigDict) -> None:
  """Shrinks any page to seconds, all its code paths kept."""
  later = len(config.stages.resolutions) - 1
  config.model.update(
    {"hidden_size": 16, "depth": 2, "num_heads": 2}
    if config.model.backbone == "dit"
    else {"channels": 8, "num_blocks": 1, "attn_resolutions": ()}
  )
  config.stages.images = (8,) * (1 + later)
  config.sampling.update(
    {"steps": (3,) + (2,) * later, "images": 10, "batch_size": 10}
  )
  config.baseline.steps = 3
  config.train.update(
    {
      "images": 80,
      "log_images": 16,
      "evaluate_images": 40,
      "checkpoint_images": 40,
    }
  )
  config.evaluation.update(
    {
      "images": 100,
      "images_on_the_way": 10,
      "validation_images": 10,
      "inception": "none",
    }
  )
  config.sweep.update(
    {
      "sampler": ("dpmpp_2m",),
      "steps": ((3,) + (2,) * later, (2,) + (1,) * later),
      "baseline_steps": (3, 2),
    }
  )
  config.tune.update({"candidates": 6, "images": 20, "rounds": 2})
  config.benchmark.update(
    {"batch_size": 10, "repeats": 2, "baseline_steps": (3,)}
  )
