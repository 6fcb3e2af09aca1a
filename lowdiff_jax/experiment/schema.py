"""Every field of a config and what it may hold; some have more: variants.py."""

from lowdiff_jax.data.images import CROPS
from lowdiff_jax.diffusion.cascade import STARTS
from lowdiff_jax.diffusion.pyramid import UPSAMPLERS
from lowdiff_jax.diffusion.sampler import SAMPLERS
from lowdiff_jax.experiment.rules import (
  PerStage,
  Rule,
  choice,
  flag,
  integer,
  number,
  positive,
  real,
  sequence,
  several,
  text,
)
from lowdiff_jax.models.unified import TARGETS
from lowdiff_jax.schedules.search import GOALS

Fields = dict[str, Rule | PerStage]

# Fields of every config.
FIELDS: Fields = {
  "seed": integer(0),
  # What the denoiser works on; see variants.py.
  "data.space": choice("pixels", "latents"),
  # tfds:<name> or folder:<path>; how pictures that are no squares are cropped;
  # where TFDS keeps its sets ("": its default).
  "data.source": text,
  "data.crop": choice(*CROPS),
  "data.dir": text,
  # Part of the images held out of a set without a test split; with 0 all are
  # trained on, and the validation loss is one of training images.
  "data.hold_out": number(0, 0.5),
  # False: train without the classes that the data has.
  "data.labels": flag,
  # Probability of each of EDM's geometric distortions in training.
  "data.augment": number(0, 1),
  # Devices: -1 takes all that the other axis leaves.
  "mesh.data": integer(-1),
  "mesh.fsdp": integer(1),
  # False: the last stage alone, sampled as `baseline` says.
  "cascade": flag,
  # Training of each stage: `images` of each batch train it; ln(sigma) is
  # normal(p_mean, p_std), so a flow's times are logit-normal; the condition's
  # noise has std between min_low_res_sigma and max_low_res_sigma; what is
  # denoised is the image, or the residual x_k - up2(x_{k-1}). Where
  # `consistency` r is above 0, the target is not the clean image but the
  # estimate at r times the noise, so that 1 or 2 evaluations by the sampler of
  # that name do; for a run that goes on from a trained one (init_from).
  "stages.resolutions": PerStage(integer(1)),
  "stages.images": PerStage(integer(1)),
  "stages.p_mean": PerStage(real),
  "stages.p_std": PerStage(positive),
  "stages.loss_scale": PerStage(number(0)),
  "stages.min_low_res_sigma": PerStage(number(0)),
  "stages.max_low_res_sigma": PerStage(number(0)),
  "stages.target": PerStage(choice(*TARGETS)),
  "stages.consistency": PerStage(number(0, 1, below=True)),
  "stages.upsample": choice(*UPSAMPLERS),
  "model.label_dropout": number(0, 1),
  # The network, and what makes a denoiser of it; see variants.py.
  "model.backbone": choice("unet", "dit"),
  "model.precondition": choice("edm", "flow"),
  # One network for all resolutions (LowDiff), or one for each, all of the
  # fields' size (Cascaded Diffusion).
  "model.shared": flag,
  # Of convolutions and attention; parameters, normalisation, softmax and skips
  # are float32.
  "model.dtype": choice("float32", "bfloat16"),
  # What a new run starts from: a file of published weights; or the folder of a
  # run (its --workdir) with the same network, of which it takes the averaged
  # weights of the newest checkpoint; "" for neither.
  "model.init_from": text,
  "optimizer.learning_rate": positive,
  "optimizer.warmup_images": number(0),
  "optimizer.betas": sequence(number(0, 1), 2),
  "optimizer.eps": positive,
  "optimizer.clip_norm": positive,
  "ema.half_life_images": positive,
  "ema.ramp": positive,
  # Progress is counted in images.
  "train.images": positive,
  "train.log_images": positive,
  "train.evaluate_images": positive,
  "train.checkpoint_images": positive,
  "train.keep_checkpoints": integer(1),
  # Sampling of each stage; sigma_max is where a stage starts.
  "sampling.sampler": PerStage(choice(*SAMPLERS)),
  "sampling.steps": PerStage(integer(1)),
  "sampling.start": PerStage(choice(*STARTS)),
  "sampling.sigma_max": PerStage(positive),
  "sampling.low_res_sigma": PerStage(number(0)),
  # EDM's stochastic sampler, for heun: S_churn, (S_tmin, S_tmax), S_noise.
  "sampling.churn": PerStage(number(0)),
  "sampling.churn_interval": sequence(number(0), 2),
  "sampling.churn_noise": positive,
  "sampling.guidance_scale": PerStage(number(0)),
  "sampling.guidance_interval": sequence(number(0), 2),
  # What mode sample makes: images first ... first + images - 1 of the seed, of
  # one class or of all in turn (-1), from a checkpoint or the newest (-1).
  "sampling.images": integer(1),
  "sampling.first": integer(0),
  "sampling.seed": integer(0),
  "sampling.label": integer(-1),
  "sampling.batch_size": integer(1),
  "sampling.checkpoint": integer(-1),
  "sampling.gif": flag,
  "baseline.sampler": choice(*SAMPLERS),
  "baseline.steps": integer(1),
  "baseline.sigma_max": positive,
  # Images of a score at the end, for each of so many ranges of seeds, and of
  # one on the way (0: no score); and held-out images for the validation loss.
  "evaluation.images": several,
  "evaluation.seed_ranges": integer(1),
  "evaluation.images_on_the_way": several,
  "evaluation.validation_images": integer(1),
  # Mode evaluate: a folder or an .npz of pictures to score; "" for generated.
  "evaluation.input": text,
  # Weights of FID's Inception; "auto" for those in the folder where the command
  # starts, if there are any; "none" for features of the data set's own.
  "evaluation.inception": text,
  # To which Inception resizes pictures: 299 for FID; less is faster, to rank
  # schedules.
  "evaluation.side": integer(75),
  # A file of statistics of real pictures; "" for those of the training images,
  # of at most so many (0: all).
  "evaluation.reference": text,
  "evaluation.references": integer(0),
  # Pictures that Inception sees at a time.
  "evaluation.batch_size": integer(1),
  "benchmark.batch_size": integer(1),
  "benchmark.repeats": integer(1),
  # Steps of the baseline with the sampler of the cascade's last stage; not with
  # `consistency`, which the baseline is not tuned for, but with the one before.
  "benchmark.baseline_steps": sequence(integer(1)),
  # Mode sweep: all combinations of these are scored; steps are those of each
  # stage, of the cascade, and of the baseline.
  "sweep.sampler": sequence(choice(*SAMPLERS)),
  "sweep.steps": sequence(sequence(integer(1))),
  "sweep.start": sequence(choice(*STARTS)),
  "sweep.guidance_scale": sequence(number(0)),
  "sweep.baseline_steps": sequence(integer(1)),
  # Mode tune: the fastest schedule with at most `factor` times the distance of
  # the config's own, or the best that is at least `factor` times as fast; so
  # many candidates in the first of some rounds, and images in the last.
  "tune.target": choice(*GOALS),
  "tune.factor": positive,
  "tune.candidates": integer(2),
  "tune.images": integer(8),
  "tune.rounds": integer(1),
  # Mode upscale: a small image, or a folder of them.
  "upscale.input": text,
}
