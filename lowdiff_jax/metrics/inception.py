"""The network behind FID: Inception v3 as published on 2015-12-05, in Flax.

FID and IS are defined by this network and its image resizing: torchvision's
Inception has other weights, other pooling and 1000 instead of 1008 classes.
Layers have the names of the PyTorch port in pytorch-fid and torch-fidelity.
Batch normalisation is folded into the convolutions when weights are loaded, see
`inception_weights.py`.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from lowdiff_jax.types import Array

# Outputs of the network, in the order of computation, and their sizes.
OUTPUTS = {
  "pool64": 64,
  "pool192": 192,
  "spatial": 17 * 17 * 7,
  "pool768": 768,
  "pool2048": 2048,
  "logits_unbiased": 1008,
}
SIDE = 299


class InceptionV3(nn.Module):
  """Inception v3.

  Attributes:
    outputs: names in `OUTPUTS`; layers after the last of them are not computed.
    side: side to which images are resized; 299 by the definition of FID. A
      smaller one is faster and gives other features.
  """

  outputs: tuple[str, ...]
  side: int = SIDE

  @nn.compact
  def __call__(self, image: Array) -> dict[str, Array]:
    """Runs the network.

    Args:
      image: [B,H,W,3] uint8, of any size.

    Returns:
      Output name -> [B,D] float32: "pool64" to "pool2048" are means over all
      positions, "spatial" is the first 7 channels of mixed_6/conv at 17x17 (for
      sFID), "logits_unbiased" is the logits without bias (for IS).
    """
    found = {}
    for name, value in _outputs((resize(image, self.side) - 128) / 128):
      if name in self.outputs:
        found[name] = value
      if len(found) == len(self.outputs):
        break
    return found


def resize(image: Array, side: int) -> Array:
  """Bilinear interpolation as TensorFlow 1 does it, align_corners=False.

  Pixel i of the result is sampled at i H / side; others sample at
  (i + 1/2) H / side - 1/2. At 32 -> 299 this affects FID strongly.

  Args:
    image: [B,H,W,C], 0..255.
    side: side of the result.

  Returns:
    [B,side,side,C] float32.
  """
  image = image.astype(jnp.float32)
  for axis in (2, 1):
    size = image.shape[axis]
    # In float32 as in TensorFlow: rounding decides which pixels are read.
    place = np.arange(side, dtype=np.float32) * (np.float32(size) / side)
    low = place.astype(np.int32)
    high = np.minimum(low + 1, size - 1)
    weight = (place - low).astype(np.float32).reshape(side, *[1] * (3 - axis))
    a, b = (jnp.take(image, i, axis) for i in (low, high))
    image = a + (b - a) * weight
  return image


def _outputs(x: Array) -> Iterator[tuple[str, Array]]:
  """Yields (name, value) of each output; later layers are computed lazily."""
  x = _conv(x, "Conv2d_1a_3x3", 32, 3, 2, "VALID")
  x = _conv(x, "Conv2d_2a_3x3", 32, 3, padding="VALID")
  x = _max_pool(_conv(x, "Conv2d_2b_3x3", 64, 3))
  yield "pool64", x.mean((1, 2))
  x = _conv(x, "Conv2d_3b_1x1", 80)
  x = _max_pool(_conv(x, "Conv2d_4a_3x3", 192, 3, padding="VALID"))
  yield "pool192", x.mean((1, 2))
  x = _mixed_a(x, "Mixed_5b", 32)
  x = _mixed_a(x, "Mixed_5c", 64)
  x = _mixed_a(x, "Mixed_5d", 64)
  x = _mixed_b(x, "Mixed_6a")
  x = _mixed_c(x, "Mixed_6b", 128)
  x = _mixed_c(x, "Mixed_6c", 160)
  x = _mixed_c(x, "Mixed_6d", 160)
  # TensorFlow's mixed_6/conv is this block's first branch.
  yield "spatial", x[..., :7].reshape(len(x), -1)
  x = _mixed_c(x, "Mixed_6e", 192)
  yield "pool768", x.mean((1, 2))
  x = _mixed_d(x, "Mixed_7a")
  x = _mixed_e(x, "Mixed_7b", _average_pool)
  # Max instead of average pooling, as in the published graph.
  x = _mixed_e(x, "Mixed_7c", lambda x: _max_pool(x, 1, "SAME"))
  x = x.mean((1, 2))
  yield "pool2048", x
  fc = nn.Dense(1008, use_bias=False, precision="highest", name="fc")
  yield "logits_unbiased", fc(x)


def _mixed_a(x: Array, name: str, pooled: int) -> Array:
  deep = _conv(x, f"{name}.branch3x3dbl_1", 64)
  deep = _conv(deep, f"{name}.branch3x3dbl_2", 96, 3)
  return _join(
    _conv(x, f"{name}.branch1x1", 64),
    _conv(_conv(x, f"{name}.branch5x5_1", 48), f"{name}.branch5x5_2", 64, 5),
    _conv(deep, f"{name}.branch3x3dbl_3", 96, 3),
    _conv(_average_pool(x), f"{name}.branch_pool", pooled),
  )


def _mixed_b(x: Array, name: str) -> Array:
  deep = _conv(x, f"{name}.branch3x3dbl_1", 64)
  deep = _conv(deep, f"{name}.branch3x3dbl_2", 96, 3)
  return _join(
    _conv(x, f"{name}.branch3x3", 384, 3, 2, "VALID"),
    _conv(deep, f"{name}.branch3x3dbl_3", 96, 3, 2, "VALID"),
    _max_pool(x),
  )


def _mixed_c(x: Array, name: str, width: int) -> Array:
  flat = _conv(x, f"{name}.branch7x7_1", width)
  flat = _conv(flat, f"{name}.branch7x7_2", width, (1, 7))
  deep = _conv(x, f"{name}.branch7x7dbl_1", width)
  deep = _conv(deep, f"{name}.branch7x7dbl_2", width, (7, 1))
  deep = _conv(deep, f"{name}.branch7x7dbl_3", width, (1, 7))
  deep = _conv(deep, f"{name}.branch7x7dbl_4", width, (7, 1))
  return _join(
    _conv(x, f"{name}.branch1x1", 192),
    _conv(flat, f"{name}.branch7x7_3", 192, (7, 1)),
    _conv(deep, f"{name}.branch7x7dbl_5", 192, (1, 7)),
    _conv(_average_pool(x), f"{name}.branch_pool", 192),
  )


def _mixed_d(x: Array, name: str) -> Array:
  flat = _conv(x, f"{name}.branch3x3_1", 192)
  deep = _conv(x, f"{name}.branch7x7x3_1", 192)
  deep = _conv(deep, f"{name}.branch7x7x3_2", 192, (1, 7))
  deep = _conv(deep, f"{name}.branch7x7x3_3", 192, (7, 1))
  return _join(
    _conv(flat, f"{name}.branch3x3_2", 320, 3, 2, "VALID"),
    _conv(deep, f"{name}.branch7x7x3_4", 192, 3, 2, "VALID"),
    _max_pool(x),
  )


def _mixed_e(x: Array, name: str, pool: Callable[[Array], Array]) -> Array:
  flat = _conv(x, f"{name}.branch3x3_1", 384)
  deep = _conv(x, f"{name}.branch3x3dbl_1", 448)
  deep = _conv(deep, f"{name}.branch3x3dbl_2", 384, 3)
  return _join(
    _conv(x, f"{name}.branch1x1", 320),
    _conv(flat, f"{name}.branch3x3_2a", 384, (1, 3)),
    _conv(flat, f"{name}.branch3x3_2b", 384, (3, 1)),
    _conv(deep, f"{name}.branch3x3dbl_3a", 384, (1, 3)),
    _conv(deep, f"{name}.branch3x3dbl_3b", 384, (3, 1)),
    _conv(pool(x), f"{name}.branch_pool", 192),
  )


def _conv(
  x: Array,
  name: str,
  features: int,
  kernel: int | tuple[int, int] = 1,
  stride: int = 1,
  padding: str = "SAME",
) -> Array:
  """relu(w * x + b), with batch normalisation folded into w and b."""
  # By default GPUs and TPUs multiply with 10 or 7 bits of mantissa.
  exact: dict[str, Any] = {"precision": "highest", "name": name}
  if kernel == 1:
    return jax.nn.relu(nn.Dense(features, **exact)(x))
  height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
  above, left = (k // 2 if padding == "SAME" else 0 for k in (height, width))
  # XLA is twice as fast on CPUs for rows of a multiple of four.
  padded = x.shape[2] + 2 * left
  pads = ((above, above), (left, left - padded % -4))
  x = nn.Conv(features, (height, width), stride, pads, **exact)(x)
  return jax.nn.relu(x[:, :, : (padded - width) // stride + 1])


def _max_pool(x: Array, stride: int = 2, padding: str = "VALID") -> Array:
  return nn.max_pool(x, (3, 3), (stride, stride), padding)


def _average_pool(x: Array) -> Array:
  return nn.avg_pool(x, (3, 3), (1, 1), "SAME", count_include_pad=False)


def _join(*branches: Array) -> Array:
  return jnp.concatenate(branches, axis=-1)
