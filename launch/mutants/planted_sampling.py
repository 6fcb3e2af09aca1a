"""The wrongs of sampling and of training, as in planted.py."""

from launch.mutants.planted import Mutant

_CASCADE = "diffusion/cascade.py"
_SAMPLER = "diffusion/sampler.py"
_STEPS = "diffusion/steps.py"
_GRADIENT = "train/gradient.py"
_GUIDANCE = "diffusion/guidance.py"
_SETTINGS = "diffusion/settings.py"
_EMA = "train/ema.py"
_STEP = "train/step.py"
_OPTIMIZER = "train/optimizer.py"
_STATE = "train/state.py"
_OBJECTIVE = "train/objective.py"
_LOOP = "train/loop.py"
_PREEMPTION = "train/preemption.py"
_CHECKPOINT = "train/checkpoint.py"
_READER = "train/checkpoint_reader.py"
_SCHEDULE = "train/schedule.py"
_LOG = "train/log.py"
_MANIFEST = "train/manifest.py"
_WRITER = "train/writer.py"

MUTANTS = tuple(
  Mutant(*wrong)
  for wrong in (
    # The cascade.
    (_CASCADE, "stage.sigmas[0] * noise", "noise"),
    (_CASCADE, "noisy + pyramid.resize", "noisy * 0 + pyramid.resize"),
    (
      _CASCADE,
      "2 * before.shape[1] == stage.resolution",
      "before.shape[1] < stage.resolution",
    ),
    (
      _CASCADE,
      "jnp.full(keys.shape[0], stage.low_res_sigma)",
      "jnp.full(keys.shape[0], 0.0)",
    ),
    (_CASCADE, "normal_per_image(low_key,", "normal_per_image(start_key,"),
    (_CASCADE, "stage.resolution + _VISIT * visits", "stage.resolution"),
    (_CASCADE, "stage.resolution + _VISIT * visits", "_VISIT * visits"),
    (_CASCADE, "stage.guidance(denoise)", "denoise"),
    (_CASCADE, "len(self.sigmas) - 1", "len(self.sigmas)"),
    (_CASCADE, "if stage.start not in STARTS", "if False"),
    (_CASCADE, "cond = Condition(label=label)", "cond = Condition()"),
    # Samplers.
    (_SAMPLER, "kept = sigma_next / sigma", "kept = sigma / sigma_next"),
    (_SAMPLER, "kept * x + (1 - kept) * clean", "x + (1 - kept) * clean"),
    (_SAMPLER, "(slope + slope_next) / 2", "slope"),
    (_SAMPLER, "(x_next - clean) / sigma_next", "(x_next - clean) / sigma_hat"),
    (
      _SAMPLER,
      "denoise(x_next, _level(sigma_next, x), cond)",
      "denoise(x_next, _level(sigma_hat, x), cond)",
    ),
    (
      _SAMPLER,
      "self.churn / count, math.sqrt(2) - 1",
      "self.churn, math.sqrt(2) - 1",
    ),
    (
      _SAMPLER,
      "sigmas_hat[index] ** 2 - sigmas[index] ** 2",
      "sigmas_hat[index] ** 2",
    ),
    (_SAMPLER, "self.churn_noise * added", "2 * self.churn_noise * added"),
    (_SAMPLER, "(self.churn_min <= sigmas) &", "(self.churn_min > sigmas) &"),
    (_SAMPLER, "stir(x, count - 1)", "x"),
    (_SAMPLER, "(0, None))(keys, index)", "(0, None))(keys, 0)"),
    (_SAMPLER, "(2 * h[:-1])", "h[:-1]"),
    (_SAMPLER, "sigmas[2:] > 0, h[1:], 0.0", "sigmas[2:] > -1, h[1:], 0.0"),
    (_STEPS, "fori_loop(0, count,", "fori_loop(0, len(per_step[0]),"),
    (_SAMPLER, "(1 + w) * clean - w * clean_before", "clean"),
    (_SAMPLER, "jnp.expm1(-h) * target", "jnp.expm1(-h) * clean_before"),
    (_SAMPLER, "raised[:-1], levels[1:-1]", "raised[:-1], levels[1:]"),
    # Guidance.
    (
      _GUIDANCE,
      "unlabelled + weight * (labelled",
      "labelled + weight * (labelled",
    ),
    (
      _GUIDANCE,
      "jnp.where(inside, self.scale, 1.0)",
      "jnp.where(inside, self.scale, 0.0)",
    ),
    (_GUIDANCE, "(low <= sigma) & (sigma <= high)\n\n", "low <= sigma\n\n"),
    (_GUIDANCE, "< self.channels", "<= self.channels"),
    (
      _GUIDANCE,
      "(low <= levels) & (levels <= high)",
      "(low < levels) & (levels < high)",
    ),
    # Proposed noise settings.
    (_SETTINGS, "HANDOFF = 8.0", "HANDOFF = 4.0"),
    (_SETTINGS, "recipe.sigma_max / 2**halvings", "recipe.sigma_max"),
    (
      _SETTINGS,
      "min(p_mean, math.log(scale.residual)",
      "max(p_mean, math.log(scale.residual)",
    ),
    (_SETTINGS, "scale.residual < ROUNDING", "scale.residual < 0"),
    (_SETTINGS, "x - pyramid.upsample(low_res)", "x"),
    # Training: EMA, step, optimizer, state.
    (
      _EMA,
      "0.5 ** (batch_size / jnp.minimum(half_life, ramped))",
      "0.5 ** (1 / jnp.minimum(half_life, ramped))",
    ),
    (_EMA, "jnp.minimum(half_life, ramped)", "jnp.maximum(half_life, ramped)"),
    (_EMA, "p + kept * (a - p)", "a + kept * (p - a)"),
    (_EMA, "seen * ramp if", "seen if"),
    (_GRADIENT, "lambda x: x / count", "lambda x: x / mesh.size"),
    (_GRADIENT, "psum(metrics, AXES)", "psum(metrics, 'data')"),
    (_STEP, "jax.random.fold_in(key, state.step)", "key"),
    (_STEP, "state.step + 1", "state.step + 2"),
    (_STEP, "jnp.uint32(batch_size)", "jnp.uint32(1)"),
    (_STEP, "ema.update(state.ema_params, params, kept)", "params"),
    (
      _STEP,
      "ema.update(state.ema_params, params, kept)",
      "ema.update(state.ema_params, state.params, kept)",
    ),
    (_STEP, "optax.global_norm(grads)", "optax.global_norm(updates)"),
    (_OPTIMIZER, "optax.clip_by_global_norm(clip_norm)", "optax.identity()"),
    (
      _OPTIMIZER,
      "linear_schedule(0.0, learning_rate,",
      "linear_schedule(learning_rate, learning_rate,",
    ),
    (_OPTIMIZER, "*betas, eps", "*betas[::-1], eps"),
    (_STATE, "jnp.zeros((), jnp.int32)", "jnp.ones((), jnp.int32)"),
    # The objective and the loop.
    (_OBJECTIVE, "image, self.augment)", "image, 1.0)"),
    (_OBJECTIVE, "label_dropout=self.label_dropout", "label_dropout=0.0"),
    (_OBJECTIVE, "augment=distortion", "augment=None"),
    (
      _OBJECTIVE,
      "bind(self.denoiser, params, dropout_key)",
      "bind(self.denoiser, params)",
    ),
    (_OBJECTIVE, "self.normalise(batch.image), None", "batch.image, None"),
    (_LOOP, "step % schedule.log_every == 0", "step % schedule.log_every == 1"),
    (_SCHEDULE, "step % self.checkpoint_every == 0", "False"),
    (_SCHEDULE, "step % self.evaluate_every == 0", "False"),
    (_LOOP, "before + step * size, ", "step * size, "),
    (_LOG, "step - len(fetched) + 1", "step - len(fetched)"),
    (_LOG, "np.isfinite([metrics", "True or np.isfinite([metrics"),
    (_PREEMPTION, "128 + (self.number", "(self.number"),
    # Checkpoints and logs.
    (_CHECKPOINT, "LatestN(self._keep)", "LatestN(self._keep + 1)"),
    (_MANIFEST, "files.sha256(file) == digest", "True"),
    (_READER, "there.get(name) != here.get(name)", "False"),
    (_CHECKPOINT, "int(state.images_seen)", "int(state.step)"),
    (_WRITER, 'record["step"] <= last_step', 'record["step"] < last_step'),
  )
)
