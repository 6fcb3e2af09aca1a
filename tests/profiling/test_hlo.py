"""Costs that are read from HLO, against numbers worked out by hand."""

import functools
from collections import Counter

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import pallas
from jax.sharding import NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

from lowdiff_jax.profiling import hlo, slices
from tests.accelerators import for_tpus

# A loop of 3 around a loop of 5, whose count XLA knows, with a conditional.
PROGRAM = """\
HloModule jit_f, is_scheduled=true

%inner_body (p: f32[8]) -> f32[8] {
  %p = f32[8]{0} parameter(0)
  ROOT %a = f32[8]{0} fusion(%p), kind=kLoop, calls=%f, \
metadata={op_name="jit(f)/a"}, backend_config={"estimated_cycles":"7"}
}

%inner_condition (p: f32[8]) -> pred[] {
  %limit = s32[] constant(99)
  ROOT %less = pred[] compare(%i, %limit), direction=LT
}

%compared (p: f32[8]) -> pred[] {
  %limit = s32[] constant(3)
  ROOT %less = pred[] compare(%i, %limit), direction=LT
}

%condition (p: f32[8]) -> pred[] {
  ROOT %less = pred[] fusion(%p), kind=kLoop, calls=%compared
}

%body (p: f32[8]) -> f32[8] {
  %w = f32[8]{0} while(%p), condition=%inner_condition, body=%inner_body, \
backend_config={"known_trip_count":{"n":"5"}}
  %s = (bf16[16,4]{1,0}, bf16[64,4]{1,0}) all-gather-start(%x), dimensions={0}
  %c = (f32[32]{0}, f32[32]{0}, u32[], u32[]) collective-permute-start(%y)
  %r = (f32[32]{0}, f32[]) all-reduce(%y, %z), to_apply=%add
  ROOT %k = f32[8]{0} custom-call(%w), custom_call_target="a_kernel"
}

%cheap (p: f32[8]) -> f32[8] {
  ROOT %b = f32[8]{0} copy(%p), backend_config={"estimated_cycles":"1"}
}

%costly (p: f32[8]) -> f32[8] {
  ROOT %b = f32[8]{0} custom-call(%p), custom_call_target="tpu_custom_call", \
metadata={op_name="jit(f)/b"}, backend_config={"estimated_cycles":"1000"}
}

ENTRY %main (p: f32[8]) -> f32[8] {
  %p = f32[8]{0} parameter(0)
  %n = f32[8]{0} custom-call(%p), custom_call_target="ConcatBitcast"
  %w = f32[8]{0} while(%p), condition=%condition, body=%body
  ROOT %d = f32[8]{0} conditional(%i, %w, %w), \
branch_computations={%cheap, %costly}
}
"""


def test_a_program_worked_out_by_hand():
  estimate = hlo.estimate(PROGRAM)
  a = hlo.Operation("jit(f)/a", "f32[8]", (3, 5))
  b = hlo.Operation("jit(f)/b", "f32[8]", ())
  assert estimate.cycles == {a: 3 * 5 * 7, b: 1000}
  assert estimate.total() == 1105
  assert estimate.moved == {
    "all-gather": 3 * 64 * 4 * 2,
    "collective-permute": 3 * 32 * 4,
    "all-reduce": 3 * (32 + 1) * 4,
  }
  assert estimate.unknown == {"a_kernel": 3}


def test_what_a_device_sends():
  moved = Counter({"all-reduce": 10, "all-gather": 4, "reduce-scatter": 3})
  assert hlo.Estimate(Counter(), moved, Counter()).sent(parts=4) == 36


def test_a_text_that_is_no_program():
  with pytest.raises(ValueError, match="no HLO module"):
    hlo.estimate("no program")


def compiled(function, devices, *shapes):
  """Its HLO for these devices, the leading axes of its arguments split."""
  mesh = jax.make_mesh((len(devices),), ("data",), devices=devices)
  split = NamedSharding(mesh, P("data"))
  args = [jax.ShapeDtypeStruct(s, jnp.bfloat16, sharding=split) for s in shapes]
  out = NamedSharding(mesh, P())
  return jax.jit(function, out_shardings=out).lower(*args).compile().as_text()


def products(count, x, weights):
  """x times the weights, `count` times in a loop."""
  return jax.lax.scan(lambda x, _: (x @ weights, None), x, length=count)[0]


@for_tpus
def test_a_product_in_a_loop_of_seven():
  device, side = slices.devices("v5e-1"), 2048
  shapes = (side, side), (side, side)
  cycles = {}
  for count in (2, 7):
    function = functools.partial(products, count)
    estimate = hlo.estimate(compiled(function, device, *shapes))
    (cycles[count],) = (
      n
      for operation, n in estimate.cycles.items()
      if operation.name.endswith("while/body/closed_call/dot_general")
      and operation.loops == (count,)
    )
  assert 2 * cycles[7] == 7 * cycles[2]
  # Of the data sheet's 197 TFLOP/s at 1.5 GHz.
  least = 2 * side**3 / 197e12 * 1.5e9
  assert least < cycles[7] / 7 < 1.3 * least


@for_tpus
def test_bytes_of_a_gather():
  text = compiled(lambda x: x + 1, slices.devices("v5e-4"), (1024, 512))
  assert hlo.estimate(text).moved == {"all-gather": 1024 * 512 * 2}


def double(x, y):
  y[...] = 2 * x[...]


@for_tpus
def test_a_kernel_of_pallas_is_reported_as_unknown():
  (device,) = slices.devices("v5e-1")
  x = jax.ShapeDtypeStruct(
    (1024, 512), jnp.float32, sharding=SingleDeviceSharding(device)
  )
  kernel = pallas.pallas_call(double, out_shape=x)
  text = jax.jit(kernel).lower(x).compile().as_text()
  assert hlo.estimate(text).unknown == {"tpu_custom_call": 1}


def test_a_loop_s_count_that_xla_knows_is_its_constant():
  """XLA's CPU compiler writes counts, beside the same condition."""
  text = compiled(
    functools.partial(products, 7), jax.devices()[:1], (8, 8), (8, 8)
  )
  (line,) = [line for line in text.splitlines() if " while(" in line]
  known = hlo.trip_count(line, [])
  assert known == 7
  condition = line.split("condition=%")[1].split(",")[0]
  lines = text.split(f"%{condition} (")[1].split("\n}")[0].splitlines()
  assert hlo.trip_count("", lines) == known
