"""The side of worker.py that does the jobs, in an environment with PyTorch."""

import ctypes
import signal
import sys
import time
from typing import Any

import torch

# prctl's name for the signal that the end of the parent sends.
_PR_SET_PDEATHSIG = 1


def serve(worker: Any) -> None:
  """Does the method of each line of the input; answers with its seconds.

  Behind them stand the most bytes of the GPU that its tensors took, 0 on a CPU.
  """
  if sys.platform == "linux":
    # A job that nobody waits for would slow down what is measured next.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
  on_gpu = worker.device.type == "cuda"
  cudnn = f", cuDNN {torch.backends.cudnn.version()}" if on_gpu else ""
  print(f"ready {torch.__version__}{cudnn}", flush=True)
  for line in sys.stdin:
    job, *arguments = line.split()
    if on_gpu:
      torch.cuda.reset_peak_memory_stats()
    since = time.perf_counter()
    getattr(worker, job)(*arguments)
    if on_gpu:
      torch.cuda.synchronize()
    seconds = time.perf_counter() - since
    peak = torch.cuda.max_memory_allocated() if on_gpu else 0
    print(seconds, peak, flush=True)
