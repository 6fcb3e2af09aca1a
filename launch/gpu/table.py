"""The measured parts as Markdown."""

from collections.abc import Mapping
from typing import Any

from launch.gpu.parts import COMPARISON, Part

Record = dict[str, Any]
THEIR_DTYPE = {
  "float32": "float32",
  "float16": "float16, its own switch",
  "bfloat16": "bfloat16 autocast",
}
TF32 = {
  "published": "TF32 in sampling's convolutions alone",
  "on": "TF32",
  "off": "no TF32",
}


def table(records: Mapping[Part, Record], command: str) -> str:
  """The card, a table of comparisons, one of our programs, and what failed.

  Args:
    records: what the parts wrote.
    command: that measured them.

  Returns:
    Markdown.
  """
  measured = {k: v for k, v in records.items() if "error" not in v}
  compared = [v for k, v in measured.items() if k.module == COMPARISON]
  alone = {k: v for k, v in measured.items() if k.module != COMPARISON}
  blocks = ["\n".join(_cards(measured.values())), f"    {command}"]
  if compared:
    header = (
      "published | ours | batch | | published, images/s | ours, images/s "
      "| ratio | published's memory"
    )
    rows = [row for record in compared for row in _comparison(record)]
    blocks.append(_markdown(header, rows))
  if alone:
    header = (
      "ours | dtype | batch | images/s | MFU | memory: compiler | measured "
      "| cuDNN attention | compile, s"
    )
    rows = [_program(part.name, record) for part, record in alone.items()]
    blocks.append(_markdown(header, rows))
    peaks = {
      (v["dtype"], v["peak_is"]): v["peak_flops"] for v in alone.values()
    }
    blocks += [
      f"MFU in {dtype}: of {flops / 1e12:.4g} TFLOP/s, {source}."
      for (dtype, source), flops in peaks.items()
    ]
  failed = {k: v["error"] for k, v in records.items() if "error" in v}
  blocks += [f"{part.name} failed: {error}" for part, error in failed.items()]
  return "\n\n".join(block for block in blocks if block)


def _markdown(header: str, rows: list[str]) -> str:
  line = "|---" * (header.count(" | ") + 1) + "|"
  return "\n".join([f"| {header} |", line, *(f"| {row} |" for row in rows)])


def _cards(records: Any) -> list[str]:
  """A line for each card and set of versions."""
  found = {
    f"{r['device']}, driver {r['driver']}, JAX {r['jax']}, cuDNN {r['cudnn']}"
    for r in records
  }
  torches = {f"PyTorch {r['torch']}" for r in records if "torch" in r}
  return sorted(found) + sorted(torches)


def _comparison(record: Record) -> list[str]:
  """A row for sampling and one for training."""
  theirs, ours = THEIR_DTYPE[record["their_dtype"]], record["dtype"]
  if record["their_dtype"] == "float32":
    theirs += f", {TF32[record['tf32']]}"
  if record["compile"]:
    theirs += ", torch.compile"
  if ours == "float32":
    rounded = record["float32_products"] == "rounded"
    ours += ", TF32" if rounded else ", no TF32"
  names = {"sample": f"Heun, {record['steps']} steps", "train": "training step"}
  return [
    f"{theirs} | {ours} | {record['batch_size']} | {names[job]} "
    f"| {rates['published']:.4g} | {rates['ours']:.4g} "
    f"| {rates['ratio']:.2f} | {_gib(rates['published_peak_bytes'])}"
    for job, rates in record["jobs"].items()
  ]


def _program(name: str, record: Record) -> str:
  return " | ".join(
    [
      f"{name} (`{record['page']}`)",
      record["dtype"],
      str(record["batch_size"]),
      f"{record['images_per_second']:.4g}",
      f"{100 * record['model_flops_utilisation']:.1f} %",
      _gib(record["peak_memory_bytes"]),
      _gib(record["device_peak_bytes"]),
      "yes" if record["cudnn_attention"] else "no",
      f"{record['compile_seconds']:.0f}"
      + (" (cached)" if record["compile_from_cache"] else ""),
    ]
  )


def _gib(size: int | None) -> str:
  return f"{size / 2**30:.1f} GiB" if size else "-"
