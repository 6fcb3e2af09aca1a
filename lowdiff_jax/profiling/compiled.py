"""Compiles programs, and looks at what came out."""

import time
from typing import Any

import jax
from jax import monitoring

# Begins the custom calls of cuDNN's fused attention in a compiled program.
CUDNN_ATTENTION = "__cudnn$fmha"


def compile_program(
  function: Any, args: tuple[Any, ...]
) -> tuple[Any, dict[str, Any]]:
  """Compiles a function and looks at the program.

  Args:
    function: a `console.Compiling`.
    args: its arguments.

  Returns:
    The program, and its row: compile seconds, whether it came from the
    compilation cache, bytes of memory (peak, and temporaries alone), whether
    cuDNN's fused attention is in it.
  """
  hits: list[str] = []

  def listener(event: str, **unused: Any) -> None:
    del unused
    hits.append(event)

  monitoring.register_event_listener(listener)
  since = time.perf_counter()
  program = function.compile(*args)
  seconds = time.perf_counter() - since
  monitoring.unregister_event_listener(listener)
  memory = program.memory_analysis()
  peak = (
    memory.temp_size_in_bytes
    + memory.argument_size_in_bytes
    + memory.output_size_in_bytes
    - memory.alias_size_in_bytes  # Donated arguments.
  )
  cached = any(event.endswith("cache_hits") for event in hits)
  return program, {
    "compile_seconds": seconds,
    "compile_from_cache": cached,
    "peak_memory_bytes": peak,
    "temporary_memory_bytes": memory.temp_size_in_bytes,
    # A U-Net's text has 17 MB.
    "cudnn_attention": jax.default_backend() == "gpu"
    and CUDNN_ATTENTION in program.as_text(),
  }
