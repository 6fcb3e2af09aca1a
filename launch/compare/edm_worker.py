"""The published PyTorch code of EDM, timed on demand by edm.py.

Runs in an environment with PyTorch, which need not have JAX. Reads a job a line
("denoise", "sample" or "train") and answers with its seconds.
"""

import argparse
import copy
import sys
from typing import Any

import numpy as np
import torch
from jobs import serve

SMALLEST, LARGEST = 0.02, 0.2
# Whether float32 convolutions and other products may round to TF32.
TF32 = {
  "published": {"sample": (True, False), "train": (False, False)},
  "on": dict.fromkeys(("sample", "train"), (True, True)),
  "off": dict.fromkeys(("sample", "train"), (False, False)),
}


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument("--edm", required=True)
  parser.add_argument("--files", required=True)
  parser.add_argument("--batch-size", type=int, required=True)
  parser.add_argument("--steps", type=int, required=True)
  parser.add_argument("--channels", type=int, required=True)
  parser.add_argument("--num-blocks", type=int, required=True)
  parser.add_argument("--dtype", required=True)
  parser.add_argument("--tf32", choices=list(TF32), required=True)
  parser.add_argument("--compile", action="store_true")
  args = parser.parse_args()
  sys.path.insert(0, args.edm)
  serve(Worker(args))


class Worker:
  """The network of CIFAR-10 without classes, with weights of no meaning."""

  def __init__(self, args: argparse.Namespace) -> None:
    from training.augment import AugmentPipe
    from training.loss import EDMLoss
    from training.networks import EDMPrecond

    self.args = args
    self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    self.net = EDMPrecond(
      img_resolution=32,
      img_channels=3,
      model_type="SongUNet",
      model_channels=args.channels,
      channel_mult=[2, 2, 2],
      num_blocks=args.num_blocks,
      use_fp16=args.dtype == "float16",
      dropout=0.13,
      augment_dim=9,
    )
    # Published initial weights all but switch most layers off.
    for param in self.net.parameters():
      scale = np.clip(param.abs().mean().item(), SMALLEST, LARGEST)
      param.data.add_(torch.randn_like(param), alpha=float(scale))
    state = {name: x.numpy() for name, x in self.net.state_dict().items()}
    np.savez(f"{args.files}/weights.npz", **state)
    self.net.to(self.device)
    self.ema = copy.deepcopy(self.net).eval().requires_grad_(False)
    # Compiled for their own batch alone; `denoise` has another.
    self.trained, self.sampled = self.net, self.ema
    if args.dtype == "bfloat16":
      autocast(self.net, self.device)
      autocast(self.ema, self.device)
    if args.compile:
      self.trained, self.sampled = (
        torch.compile(net, dynamic=False) for net in (self.net, self.ema)
      )
    self.loss = EDMLoss()
    ops = ("yflip", "scale", "rotate_frac", "aniso", "translate_frac")
    self.augment = AugmentPipe(p=0.12, xflip=1e8, **dict.fromkeys(ops, 1))
    self.adam = torch.optim.Adam(
      self.net.parameters(), lr=1e-6, betas=(0.9, 0.999), eps=1e-8
    )
    shape = (args.batch_size, 3, 32, 32)
    self.images = torch.randint(256, shape, device=self.device)

  def denoise(self) -> None:
    """The denoised image of a noisy one, for the comparison of numbers."""
    with np.load(f"{self.args.files}/noisy.npz") as file:
      noisy, sigma = (
        torch.from_numpy(file[name]).to(self.device)
        for name in ("noisy", "sigma")
      )
    allow_tf32(False, False)
    with torch.no_grad():
      clean = self.ema(noisy, sigma)
    np.save(f"{self.args.files}/denoised.npy", clean.cpu().numpy())

  def sample(self) -> None:
    """A batch of images by the published sampler, with the copy's weights."""
    from generate import edm_sampler

    # What PyTorch does if it is not told otherwise, as in generate.py.
    torch.backends.cudnn.benchmark = False
    allow_tf32(*TF32[self.args.tf32]["sample"])
    latents = torch.randn(self.args.batch_size, 3, 32, 32, device=self.device)
    with torch.no_grad():
      images = edm_sampler(self.sampled, latents, num_steps=self.args.steps)
    (images * 127.5 + 128).clip(0, 255).to(torch.uint8).cpu()

  def train(self) -> None:
    """A step as the published loop makes it: loss, Adam, average."""
    # What train.py tells PyTorch.
    torch.backends.cudnn.benchmark = True
    allow_tf32(*TF32[self.args.tf32]["train"])
    self.net.train()
    self.adam.zero_grad(set_to_none=True)
    images = self.images.to(torch.float32) / 127.5 - 1
    labels = torch.zeros(len(images), 0, device=self.device)
    loss = self.loss(self.trained, images, labels, augment_pipe=self.augment)
    (loss.sum() / len(images)).backward()
    for param in self.net.parameters():
      if param.grad is not None:
        torch.nan_to_num(
          param.grad, nan=0, posinf=1e5, neginf=-1e5, out=param.grad
        )
    self.adam.step()
    with torch.no_grad():
      pairs = zip(self.ema.parameters(), self.net.parameters(), strict=True)
      for average, param in pairs:
        average.copy_(param.lerp(average, 0.999))


def allow_tf32(convolutions: bool, products: bool) -> None:
  """What float32 convolutions and matrix products may round to TF32."""
  torch.backends.cudnn.allow_tf32 = convolutions
  torch.backends.cuda.matmul.allow_tf32 = products


def autocast(net: Any, device: torch.device) -> None:
  """Lets the U-Net of a denoiser run in bfloat16 where PyTorch allows it."""
  forward = net.model.forward

  def in_bfloat16(*args: Any, **kwargs: Any) -> torch.Tensor:
    with torch.autocast(device.type, torch.bfloat16):
      result = forward(*args, **kwargs)
    # EDMPrecond takes nothing else.
    return result.float()

  net.model.forward = in_bfloat16


if __name__ == "__main__":
  main()
