"""The side of worker.py that does the jobs, in an environment with PyTorch."""

import sys
import time
from typing import Any

import torch


def serve(worker: Any) -> None:
  """Does the method of each line of the input; answers with its seconds."""
  print("ready", torch.__version__, worker.device, flush=True)
  for line in sys.stdin:
    job, *arguments = line.split()
    since = time.perf_counter()
    getattr(worker, job)(*arguments)
    if worker.device.type == "cuda":
      torch.cuda.synchronize()
    print(time.perf_counter() - since, flush=True)
