"""Ours against the published PyTorch code of EDM, in turns on one machine.

  git clone https://github.com/NVlabs/edm ~/edm
  python -m launch.compare.edm --edm ~/edm --torch-python PYTHON

PYTHON is an interpreter with PyTorch, SciPy, requests, click, psutil, tqdm and
Pillow. Both sides get the same weights of the full-size CIFAR-10 network, agree
on a denoised batch, and then take turns at a batch of EDM's Heun sampler and at
a training step with dropout and augmentation. Printed are the medians of
--repeats turns, after one that is not counted, and the peak memory of PyTorch's
tensors. Exit status 1 if the two do not denoise alike.

The published code runs as it is, or, which its authors did not do, through
torch.compile (--compile) or under bfloat16 autocast (--their-dtype=bfloat16);
float16 is its own switch, for GPUs. It allows TF32 for convolutions in sampling
alone, JAX allows it everywhere: --tf32=on or off is for both sides alike. The
published code is for non-commercial use.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from configs import cifar10
from launch.compare.card import card
from launch.compare.worker import Worker
from lowdiff_jax import distributed, files
from lowdiff_jax.cli.main import keep_compiled_programs
from lowdiff_jax.experiment import defaults
from lowdiff_jax.experiment.parts import build_experiment
from lowdiff_jax.types import Batch, Condition, ImageSpec

# Largest error over largest value; bfloat16 keeps 8 bits.
TOLERANCE = {"float32": 1e-3, "bfloat16": 3e-2}


def main() -> int:
  """Prints the comparison; the exit status."""
  args = _arguments()
  # The other side needs memory of the same device.
  os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
  keep_compiled_programs()
  if args.tf32 == "off":
    config: Any = jax.config  # It does not declare its flags.
    config.update("jax_default_matmul_precision", "float32")
  with tempfile.TemporaryDirectory() as folder:
    theirs = _published(args, folder)
    ours = _Ours(args, folder)
    print(f"PyTorch {theirs.about}; JAX {jax.__version__} {jax.devices()[0]}")
    error = _difference(theirs, ours, Path(folder))
    print(f"denoised batch: largest difference {error:.1e} of the largest")
    if error > TOLERANCE[args.dtype]:
      print("they do not denoise alike", file=sys.stderr)
      return 1
    jobs = {
      job: _compare(args, job, theirs, ours_job)
      for job, ours_job in (("sample", ours.sample), ("train", ours.train))
    }
    about = theirs.about
    theirs.close()
  if args.json:
    choices = ("dtype", "their_dtype", "compile", "tf32", "batch_size", "steps")
    record = {
      **card(),
      "torch": about,
      **{name: getattr(args, name) for name in (*choices, "repeats")},
      "difference": float(error),
      "jobs": jobs,
    }
    files.write_json(args.json, record)
  return 0


def _arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--edm", type=Path, required=True)
  parser.add_argument("--torch-python", default=sys.executable)
  parser.add_argument("--batch-size", type=int, default=512)
  parser.add_argument("--steps", type=int, default=18)
  parser.add_argument("--repeats", type=int, default=5)
  parser.add_argument("--dtype", choices=list(TOLERANCE), default="float32")
  parser.add_argument(
    "--their-dtype",
    choices=["float32", "float16", "bfloat16"],
    default="float32",
  )
  parser.add_argument("--compile", action="store_true")
  parser.add_argument(
    "--tf32", choices=["published", "on", "off"], default="published"
  )
  parser.add_argument("--channels", type=int, default=128)
  parser.add_argument("--num-blocks", type=int, default=4)
  parser.add_argument("--json", type=Path, help="also write the numbers here")
  args = parser.parse_args()
  if not (args.edm / "training" / "networks.py").is_file():
    parser.error(f"--edm {args.edm}: there is no training/networks.py in it")
  return args


def _published(args: argparse.Namespace, folder: str) -> Worker:
  """The published code, which writes its weights into the folder."""
  return Worker(
    args.torch_python,
    "edm_worker.py",
    f"--edm={args.edm.resolve()}",
    f"--files={folder}",
    f"--batch-size={args.batch_size}",
    f"--steps={args.steps}",
    f"--channels={args.channels}",
    f"--num-blocks={args.num_blocks}",
    f"--dtype={args.their_dtype}",
    f"--tf32={args.tf32}",
    *["--compile"] * args.compile,
  )


class _Ours:
  """The same network by `configs/cifar10.py:baseline`, from their weights."""

  def __init__(self, args: argparse.Namespace, folder: str) -> None:
    config = cifar10.get_config("baseline")
    config.model.init_from = f"{folder}/weights.npz"
    config.model.dtype = args.dtype
    config.model.channels = args.channels
    config.model.num_blocks = args.num_blocks
    defaults.set_stages(config, batch_size=args.batch_size)
    config.baseline.steps = args.steps
    self.experiment = build_experiment(config, ImageSpec(32, 3, 0))
    self.generate = self.experiment.generator.program(self.experiment.stages)
    self.state = self.experiment.init()
    self.labels = np.full(args.batch_size, -1, np.int32)
    shape = (args.batch_size, 32, 32, 3)
    rng = np.random.default_rng(0)
    # Theirs are on the device too.
    self.batch = jax.device_put(
      Batch(rng.integers(0, 256, shape, np.uint8), self.labels),
      distributed.batch_sharding(self.experiment.mesh),
    )

  def denoise(self, noisy: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    bind = self.experiment.bind
    denoise = jax.jit(lambda params, *args: bind(params)(*args))
    cond = Condition(label=jnp.asarray(self.labels[: len(noisy)]))
    # What a GPU or a TPU otherwise rounds would hide a wrong network.
    with jax.default_matmul_precision("float32"):
      return np.asarray(denoise(self.state.ema_params, noisy, sigma, cond))

  def sample(self) -> None:
    indices = np.arange(len(self.labels))
    jax.device_get(
      self.generate(self.state.ema_params, 0, indices, self.labels, None)
    )

  def train(self) -> None:
    self.state, metrics = self.experiment.step(
      self.state, jax.random.key(0), self.batch
    )
    jax.block_until_ready((self.state, metrics))


def _difference(theirs: Worker, ours: _Ours, folder: Path) -> float:
  """How far the denoised batches of the two are apart."""
  rng = np.random.default_rng(0)
  sigma = np.array([0.02, 0.2, 2, 20], np.float32)
  noisy = rng.standard_normal((4, 3, 32, 32), np.float32)
  noisy *= np.sqrt(0.25 + sigma**2)[:, None, None, None]
  np.savez(folder / "noisy.npz", noisy=noisy, sigma=sigma)
  theirs("denoise")
  expected = np.load(folder / "denoised.npy").transpose(0, 2, 3, 1)
  found = ours.denoise(noisy.transpose(0, 2, 3, 1), sigma)
  return np.abs(found - expected).max() / np.abs(expected).max()


def _compare(
  args: argparse.Namespace,
  job: str,
  theirs: Worker,
  ours_job: Callable[[], None],
) -> dict[str, float]:
  """Takes turns, so that a drifting machine hits both alike."""
  seconds: dict[str, list[float]] = {"published": [], "ours": []}
  for turn in range(args.repeats + 1):
    published = theirs(job)
    since = time.perf_counter()
    ours_job()
    if turn:
      seconds["published"].append(published)
      seconds["ours"].append(time.perf_counter() - since)
  rates = {
    name: args.batch_size / statistics.median(times)
    for name, times in seconds.items()
  }
  ratio = rates["ours"] / rates["published"]
  peak = theirs.peak_bytes
  print(
    f"{job:6} published {rates['published']:9.3f} images/s"
    f"{f' in {peak / 2**30:.1f} GiB' if peak else ''}, ours "
    f"{rates['ours']:9.3f}: {ratio:.2f}x"
  )
  return {**rates, "ratio": ratio, "published_peak_bytes": peak}


if __name__ == "__main__":
  sys.exit(main())
