"""Our scores against torch-fidelity's: of the same images, in one run.

  python -m launch.compare.fid --torch-python PYTHON --weights FILE \\
    --images a.npz --reference b.npz

PYTHON is an interpreter with torch-fidelity; FILE holds weights of the FID
Inception; the images are arrays "arr_0" [N,H,W,3] uint8. Both sides compute
the features of all images, which are kept in --folder (the next run goes on),
and score them (precision and recall against 10,000 of the reference at most);
then they take turns at batches of 32x32 images. Printed are the scores, and
images/s as medians of --repeats turns after one that is not counted. Exit
status 1 if the Frechet distances differ by 0.1 % or more.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from launch.compare.worker import Worker
from lowdiff_jax import distributed
from lowdiff_jax.data.stored import open_stored
from lowdiff_jax.metrics import compute
from lowdiff_jax.metrics.features import Collected, Extract, collect
from lowdiff_jax.metrics.frechet import frechet_distance
from lowdiff_jax.metrics.frechet import statistics as gaussian
from lowdiff_jax.metrics.inception import OUTPUTS
from lowdiff_jax.metrics.inception_score import inception_score
from lowdiff_jax.metrics.inception_weights import Inception, load_inception
from lowdiff_jax.metrics.kernel_distance import kernel_distance
from lowdiff_jax.metrics.precision_recall import precision_recall
from lowdiff_jax.metrics.reference import KEPT

TOLERANCE = 1e-3
FORMATS = ("shipped", "channels_last")


def main() -> int:
  """Prints the comparison; the exit status."""
  args = _arguments()
  args.folder.mkdir(parents=True, exist_ok=True)
  inception = load_inception(args.weights)
  extract = compute.inception_extract(
    inception, args.batch_size, distributed.make_mesh()
  )
  weights: dict[str, Any] = _published(inception)
  np.savez(args.folder / "weights.npz", **weights)
  pool = str(OUTPUTS[inception.pool])
  logits = ["logits_unbiased"] * (inception.pool == "pool2048")
  theirs = Worker(
    args.torch_python,
    "fid_worker.py",
    f"--folder={args.folder}",
    f"--batch-size={args.batch_size}",
    *("--features", pool, *logits),
    f"--kept={KEPT}",
    *("--sets", str(args.pictures), str(args.reference)),
  )
  print(f"PyTorch {theirs.about}; JAX {jax.__version__} {jax.devices()[0]}")
  ours = [
    _collect(args, path, extract, inception)
    for path in (args.pictures, args.reference)
  ]
  for path in (args.pictures, args.reference):
    theirs(f"extract {path.stem}")
  theirs("score")
  error = _compare_scores(args, inception.pool, ours)
  _compare_speed(args, theirs, extract)
  theirs.close()
  return int(error >= TOLERANCE)


def _arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--torch-python", default=sys.executable)
  parser.add_argument("--weights", type=Path, required=True)
  parser.add_argument("--pictures", type=Path, required=True)
  parser.add_argument("--reference", type=Path, required=True)
  parser.add_argument("--folder", type=Path, default=Path("runs/compare_fid"))
  parser.add_argument("--batch-size", type=int, default=64)
  parser.add_argument("--repeats", type=int, default=5)
  args = parser.parse_args()
  for name in ("weights", "pictures", "reference"):
    path = getattr(args, name)
    if not path.is_file():
      parser.error(f"--{name} {path}: there is no such file")
  return args


def _published(inception: Inception) -> dict[str, np.ndarray]:
  """All parameters by their published names; zeros where we have none."""
  module = inception.module.clone(outputs=tuple(OUTPUTS))
  picture = np.zeros((1, 32, 32, 3), np.uint8)
  shapes = jax.eval_shape(module.init, jax.random.key(0), picture)["params"]
  state = {"fc.bias": np.zeros(1008, np.float32)}
  for name, shape in shapes.items():
    zeros = {leaf: np.zeros(s.shape, s.dtype) for leaf, s in shape.items()}
    layer = inception.params.get(name, zeros)
    if name == "fc":
      state["fc.weight"] = layer["kernel"].T
      continue
    kernel, bias = layer["kernel"], layer["bias"]
    kernel = kernel[None, None] if kernel.ndim == 2 else kernel
    # Batch normalisation that does nothing: it is in kernel and bias.
    ones = np.ones_like(bias)
    state[f"{name}.conv.weight"] = kernel.transpose(3, 2, 0, 1)
    state |= {
      f"{name}.bn.{leaf}": value
      for leaf, value in {
        "weight": ones,
        "bias": bias,
        "running_mean": np.zeros_like(bias),
        "running_var": (ones - 1e-3).astype(np.float32),
        "num_batches_tracked": np.int64(0),
      }.items()
    }
  return {name: np.asarray(x, order="C") for name, x in state.items()}


def _collect(
  args: argparse.Namespace, path: Path, extract: Extract, inception: Inception
) -> Collected:
  pictures, identity = open_stored(path, args.batch_size, None)
  settings = {"pictures": identity, **compute.inception_protocol(inception)}
  return collect(pictures, extract, args.folder / f"ours-{path.stem}", settings)


def _compare_scores(
  args: argparse.Namespace, pool: str, ours: Sequence[Collected]
) -> float:
  """Prints both sides' figures; how far the Frechet distances are apart."""
  theirs = json.loads((args.folder / "theirs.json").read_text())
  files = sorted((args.folder / f"theirs-{args.pictures.stem}").glob("*.npz"))
  column = np.concatenate([np.load(f)[str(OUTPUTS[pool])] for f in files])
  features = [collected.column(pool) for collected in ours]
  kept = ours[1].column(pool, KEPT)
  difference = np.abs(features[0] - column).max() / np.abs(column).max()
  print(f"features: largest difference {difference:.1e} of the largest")
  shares = precision_recall(features[0], kept)
  found = {
    "frechet_inception_distance": frechet_distance(
      *(gaussian([x]) for x in reversed(features))
    ),
    "kernel_inception_distance_mean": kernel_distance(features[0], features[1]),
    "precision": shares.precision,
    "recall": shares.recall,
  }
  if "inception_score_mean" in theirs:
    logits = ours[0].column("logits_unbiased")
    found["inception_score_mean"] = inception_score(logits)[0]
  print(f"{'':32}{'torch-fidelity':>16}{'ours':>16}{'off by':>10}")
  for name, value in found.items():
    error = abs(value / theirs[name] - 1)
    print(f"{name:32}{theirs[name]:16.7g}{value:16.7g}{error:10.1e}")
  return abs(
    found["frechet_inception_distance"] / theirs["frechet_inception_distance"]
    - 1
  )


def _compare_speed(
  args: argparse.Namespace, theirs: Worker, extract: Extract
) -> None:
  """Takes turns, so that a drifting machine hits all alike."""
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (args.batch_size, 32, 32, 3), np.uint8)
  seconds: dict[str, list[float]] = {n: [] for n in (*FORMATS, "ours")}
  for turn in range(args.repeats + 1):
    times = {name: theirs(f"features {name}") for name in FORMATS}
    since = time.perf_counter()
    jax.block_until_ready(extract(images))
    times["ours"] = time.perf_counter() - since
    for name, value in times.items():
      seconds[name] += [value] * (turn > 0)
  rates = {
    name: args.batch_size / statistics.median(values)
    for name, values in seconds.items()
  }
  print(f"ours: {rates['ours']:.2f} images/s")
  for name in FORMATS:
    print(
      f"torch-fidelity, {name}: {rates[name]:.2f} images/s, ours "
      f"{rates['ours'] / rates[name]:.2f}x"
    )


if __name__ == "__main__":
  sys.exit(main())
