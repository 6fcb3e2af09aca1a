"""The wrongs that are planted: a file, an expression of it, and a wrong one."""

from typing import NamedTuple


class Mutant(NamedTuple):
  """A small wrong.

  Attributes:
    file: of lowdiff_jax.
    old: an expression that occurs in it exactly once.
    new: what takes its place.
  """

  file: str
  old: str
  new: str


_CONDITIONING = "diffusion/conditioning.py"
_NOISE = "diffusion/noise.py"
_LOSS = "diffusion/loss.py"
_PRECONDITION = "diffusion/precondition.py"
_PYRAMID = "diffusion/pyramid.py"
_UNIFIED = "models/unified.py"

MUTANTS = tuple(
  Mutant(*wrong)
  for wrong in (
    # The condition: distribution, level, scale.
    (
      _CONDITIONING,
      "jax.random.uniform(sigma_key, low_res.shape[:1])",
      "0.5 + 0 * jax.random.uniform(key, low_res.shape[:1])",
    ),
    (_CONDITIONING, "low + (high - low) *", "high *"),
    (_CONDITIONING, "low + (high - low) *", "low + (high + low) *"),
    (_CONDITIONING, "sigma[:, None, None, None] * eps", "eps"),
    (_CONDITIONING, "low_res_sigma=sigma)", "low_res_sigma=sigma**2)"),
    (
      _CONDITIONING,
      "jax.random.normal(eps_key, low_res.shape)",
      "jax.random.uniform(eps_key, low_res.shape)",
    ),
    (_CONDITIONING, "jax.random.split(key)", "(key, key)"),
    (_UNIFIED, "cond.low_res_sigma, 1e-3", "cond.low_res_sigma, 1e-1"),
    (_UNIFIED, "cond.low_res_sigma, 1e-3", "cond.low_res_sigma, 1e-5"),
    (_UNIFIED, "(level, resolution // 2)", "(level, resolution)"),
    (_UNIFIED, "pre.c_in[:, None, None, None] * cond.low_res", "cond.low_res"),
    (
      _UNIFIED,
      "positional_embedding(pre.c_noise,",
      "positional_embedding(level,",
    ),
    (_UNIFIED, "embedding + embed_level(level)", "embed_level(level)"),
    (_UNIFIED, "embedding + embed_level(level)", "embedding"),
    (
      _UNIFIED,
      "table[self.resolutions.index(resolution)]",
      "table[len(self.resolutions) - 1 - self.resolutions.index(resolution)]",
    ),
    (
      _UNIFIED,
      "inputs, embedding = pre.c_in * noisy",
      "inputs, embedding = noisy",
    ),
    (
      _UNIFIED,
      "origin + pre.c_skip * noisy + pre.c_out * output",
      "pre.c_skip * noisy + pre.c_out * output",
    ),
    (
      _UNIFIED,
      "origin + pre.c_skip * noisy + pre.c_out * output",
      "origin + pre.c_skip * noisy - pre.c_out * output",
    ),
    (_UNIFIED, "noisy = noisy - origin", "noisy = noisy - 0.9 * origin"),
    (_UNIFIED, "augment=cond.augment", "augment=None"),
    (_UNIFIED, "      cond.label,\n", "      None,\n"),
    (_UNIFIED, "(dropout_key, noisy.shape[1])", "(dropout_key, 0)"),
    (_UNIFIED, "kernel_init=zeros, name=name", "name=name"),
    (_UNIFIED, "channels != channels", "channels == -1"),
    (_UNIFIED, "if not self.shared:", "if False:"),
    # The loss: weights, levels, targets, sums.
    (
      _LOSS,
      "(sigma**2 + sigma_data**2) /",
      "1.1 * (sigma**2 + sigma_data**2) /",
    ),
    (_LOSS, "(sigma * sigma_data) ** 2", "(sigma + sigma_data) ** 2"),
    (_LOSS, "((1 + sigma) / sigma) ** 2", "(1 + sigma) / sigma"),
    (_LOSS, "clean + level * eps", "clean + level**2 * eps"),
    (_LOSS, "jnp.square(estimate - clean)", "jnp.abs(estimate - clean)"),
    (_LOSS, "weight(sigma) * error", "error"),
    (
      _LOSS,
      "(noisy - estimate) / level, clean - eps",
      "(noisy - estimate), clean - eps",
    ),
    (_LOSS, "clean - eps)", "clean + eps)"),
    (_LOSS, "1 - cosine.mean((1, 2))", "1 + cosine.mean((1, 2))"),
    (_LOSS, "+ 1e-4 for", "+ 1e-1 for"),
    (_LOSS, "total + stage.scale * loss", "total + loss"),
    (
      _LOSS,
      "stage.scale * stage.cosine_weight * cosine_loss",
      "stage.scale * cosine_loss",
    ),
    (_LOSS, "(keys[0], label_dropout,", "(keys[0], 1 - label_dropout,"),
    (
      _LOSS,
      "jnp.where(drop, NO_LABEL, stage_label)",
      "jnp.where(drop, 0, stage_label)",
    ),
    (
      _LOSS,
      "(images[k], low_res, label, augment)",
      "(images[k], low_res, label[::-1], augment)",
    ),
    (_LOSS, "keys[3], stage.images", "keys[1], stage.images"),
    (_LOSS, "keys[2], low_res", "keys[1], low_res"),
    (
      _LOSS,
      "split(jax.random.fold_in(key, stage.resolution), 4)",
      "split(key, 4)",
    ),
    (_LOSS, "augment=distortion", "augment=None"),
    (
      _LOSS,
      "image, len(stages))\n  examples",
      "image, len(stages))[::-1]\n  examples",
    ),
    (
      _LOSS,
      "lognormal_quantiles(levels, stage.p_mean",
      "lognormal_quantiles(levels, 0.0",
    ),
    (
      _LOSS,
      "sigma=sigma, weight=stage.weight\n    )\n    loss,",
      "sigma=sigma, weight=lambda s: 1.0\n    )\n    loss,",
    ),
    # Noise: grids, distributions, keys.
    (_NOISE, "root**rho", "root ** (rho - 1)"),
    (
      _NOISE,
      "sigma_min ** (1 / rho), num_steps",
      "sigma_min ** (1 / rho), num_steps + 1",
    ),
    (_NOISE, "shift * tau / (1 - tau)", "tau / (1 - tau)"),
    (_NOISE, "sigma_max / (shift + sigma_max)", "sigma_max / (1 + sigma_max)"),
    (
      _NOISE,
      "p_mean + p_std * jax.random.normal",
      "p_mean - 0.5 + p_std * jax.random.normal",
    ),
    (
      _NOISE,
      "p_mean + p_std * jax.random.normal",
      "p_mean + p_std**2 * jax.random.normal",
    ),
    (_NOISE, "(i + 0.5) / count", "(i + 1) / (count + 1)"),
    (
      _NOISE,
      "lambda key: jax.random.normal(key, shape)",
      "lambda key: jax.random.normal(keys[0], shape)",
    ),
    (_NOISE, "jax.random.key(seed)", "jax.random.key(0)"),
    # Preconditioning and pyramid.
    (_PRECONDITION, "sigma_data**2 / variance", "sigma_data / variance"),
    (
      _PRECONDITION,
      "sigma * sigma_data / jnp.sqrt(variance)",
      "sigma / jnp.sqrt(variance)",
    ),
    (_PRECONDITION, "c_in=1 / jnp.sqrt(variance)", "c_in=1 / variance"),
    (_PRECONDITION, "jnp.log(sigma) / 4", "jnp.log(sigma) / 2"),
    (_PRECONDITION, "c_out=sigma * t", "c_out=t"),
    (_PRECONDITION, "c_noise=t)", "c_noise=1 - t)"),
    (_PYRAMID, ".mean((2, 4))", ".max((2, 4))"),
    (
      _PYRAMID,
      "jnp.repeat(jnp.repeat(image, 2, 1), 2, 2)",
      "jnp.tile(image, (1, 2, 2, 1))",
    ),
    (_PYRAMID, "image[-levels:]", "image[:levels]"),
    (_PYRAMID, "tuple(reversed(images))", "tuple(images)"),
  )
)
