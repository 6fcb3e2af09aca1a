"""torch-fidelity, told what to do by fid.py.

Runs in an environment with torch-fidelity, which need not have JAX. Reads a job
a line, "extract NAME", "features FORMAT" or "score", and answers with its
seconds.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jobs import serve
from torch_fidelity import metric_fid, metric_isc, metric_kid, metric_prc
from torch_fidelity.feature_extractor_inceptionv3 import (
  FeatureExtractorInceptionV3,
)

CHUNK = 1000
FORMATS = {
  "shipped": torch.contiguous_format,
  "channels_last": torch.channels_last,
}


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument("--folder", type=Path, required=True)
  parser.add_argument("--features", nargs="+", required=True)
  parser.add_argument("--batch-size", type=int, required=True)
  parser.add_argument("--kept", type=int, required=True)
  parser.add_argument("--sets", nargs=2, type=Path, required=True)
  serve(Worker(parser.parse_args()))


class Worker:
  """The network with the weights in the folder, and its scores."""

  def __init__(self, args: argparse.Namespace) -> None:
    self.args = args
    self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # What a GPU otherwise rounds would be taken for our mistake.
    torch.backends.cudnn.allow_tf32 = False
    with np.load(args.folder / "weights.npz") as file:
      state = {name: torch.from_numpy(file[name]) for name in file.files}
    path = args.folder / "weights.pth"
    torch.save(state, path)
    self.network = FeatureExtractorInceptionV3(
      "inception-v3-compat",
      args.features,
      feature_extractor_weights_path=str(path),
    ).to(self.device)

  def features(self, memory_format: Any, images: Any = None) -> Any:
    """Of a batch; on a CPU the order of the axes decides the speed."""
    self.network.to(memory_format=FORMATS[memory_format])
    if images is None:
      rng = np.random.default_rng(0)
      shape = (self.args.batch_size, 32, 32, 3)
      images = rng.integers(0, 256, shape, np.uint8)
    images = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    with torch.no_grad():
      found = self.network(images.to(self.device))
    return [x.cpu().numpy() for x in found]

  def extract(self, name: str) -> None:
    """Features of a set of images, those that are not there yet."""
    path = next(path for path in self.args.sets if path.stem == name)
    folder, size = self.args.folder / f"theirs-{name}", self.args.batch_size
    folder.mkdir(exist_ok=True)
    images = np.load(path)["arr_0"]
    for start in range(0, len(images), CHUNK):
      file = folder / f"{start:08d}.npz"
      if file.exists():
        continue
      part = images[start : start + CHUNK]
      found = [
        self.features("channels_last", part[i : i + size])
        for i in range(0, len(part), size)
      ]
      columns = map(np.concatenate, zip(*found, strict=True))
      with file.with_suffix(".partial").open("wb") as partial:
        np.savez(partial, **dict(zip(self.args.features, columns, strict=True)))
      os.replace(partial.name, file)

  def score(self) -> None:
    """Writes what torch-fidelity makes of the features."""
    pool = self.args.features[0]
    ours, real = (self._column(path.stem, pool) for path in self.args.sets)
    statistics = [
      metric_fid.fid_features_to_statistics(x.double()) for x in (ours, real)
    ]
    found = metric_fid.fid_statistics_to_metric(*statistics, False)
    found |= metric_kid.kid_features_to_metric(
      ours.double(),
      real.double(),
      kid_subset_size=min(1000, len(ours), len(real)),
      verbose=False,
    )
    count = min(self.args.kept, len(real))
    kept = real[np.arange(count) * len(real) // count]
    found |= metric_prc.prc_features_to_metric(
      ours, kept, save_cpu_ram=True, verbose=False
    )
    if len(self.args.features) > 1:
      logits = self._column(self.args.sets[0].stem, "logits_unbiased")
      found |= metric_isc.isc_features_to_metric(logits)
    (self.args.folder / "theirs.json").write_text(json.dumps(found))

  def _column(self, name: str, feature: str) -> Any:
    files = sorted((self.args.folder / f"theirs-{name}").glob("*.npz"))
    return torch.from_numpy(
      np.concatenate([np.load(file)[feature] for file in files])
    )


if __name__ == "__main__":
  main()
