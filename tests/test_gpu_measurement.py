"""The measurement for a GPU: it goes on where it was stopped."""

import argparse
import json
import subprocess
import sys
import time

import pytest

from launch.gpu.__main__ import measure
from launch.gpu.parts import COMPARISON, PROGRAM, Part, parts
from launch.gpu.table import table
from launch.study.jobs import Jobs
from tests.command_line import REPOSITORY, environment

CARD = {
  "device": "NVIDIA H100",
  "driver": "570.1",
  "jax": "0.10.2",
  "cudnn": "9.1",
  "float32_products": "rounded",
}
COMPARED = {
  **CARD,
  "torch": "2.13.0, cuDNN 91000",
  "dtype": "float32",
  "their_dtype": "float32",
  "compile": True,
  "tf32": "on",
  "batch_size": 256,
  "steps": 18,
  "jobs": {
    "sample": {
      "published": 50.0,
      "ours": 75.0,
      "ratio": 1.5,
      "published_peak_bytes": 3 * 2**30,
    }
  },
}
MEASURED = {
  **CARD,
  "page": "configs/imagenet256.py",
  "dtype": "bfloat16",
  "batch_size": 512,
  "images_per_second": 1234.0,
  "model_flops_utilisation": 0.256,
  "peak_flops": 989e12,
  "peak_is": "data sheet of H100",
  "peak_memory_bytes": 2**31,
  "device_peak_bytes": None,
  "cudnn_attention": True,
  "compile_seconds": 61.2,
  "compile_from_cache": False,
}


def command(folder, *flags):
  program = [sys.executable, "-m", "launch.gpu", "--small"]
  return [*program, f"--results={folder}", *flags]


def options(**kwargs):
  return {
    "cwd": REPOSITORY,
    "env": environment(),
    "stdout": subprocess.PIPE,
    "stderr": subprocess.STDOUT,
    "text": True,
    **kwargs,
  }


def test_it_goes_on_after_a_kill(tmp_path):
  flags = ("--parts", "dit-train", "dit-sample")
  first, second = (tmp_path / f"small/{name}.json" for name in flags[1:])
  process = subprocess.Popen(command(tmp_path, *flags), **options())
  end = time.monotonic() + 300
  while not first.exists():
    assert process.poll() is None and time.monotonic() < end
    time.sleep(0.05)
  process.terminate()
  process.communicate()
  assert process.returncode == 143 and not second.exists()
  kept = first.stat().st_mtime_ns
  done = subprocess.run(command(tmp_path, *flags), **options(), check=False)
  assert done.returncode == 0, done.stdout
  assert "dit-train: measured already" in done.stdout
  assert first.stat().st_mtime_ns == kept
  for name in flags[1:]:
    assert f"| {name} (`configs/imagenet256.py:smoke`) |" in done.stdout
  assert (tmp_path / "small/table.md").read_text() in done.stdout
  record = json.loads(second.read_text())
  assert record["images_per_second"] > 0 and record["batch_size"] == 2
  assert any((tmp_path / "small/cache/jax").iterdir())


def test_a_part_that_fails_is_recorded_and_stops_no_other(tmp_path):
  published = tmp_path / "edm/training/networks.py"
  published.parent.mkdir(parents=True)
  published.touch()
  flags = [f"--edm={tmp_path}/edm", f"--torch-python={sys.executable}"]
  flags += ["--parts", "edm-float32", "edm-float16"]
  for _ in range(2):
    done = subprocess.run(command(tmp_path, *flags), **options(), check=False)
    assert done.returncode == 1
    for name in flags[-2:]:
      record = json.loads((tmp_path / f"small/{name}.json").read_text())
      assert record["error"].startswith("ModuleNotFoundError")
      assert f"{name} failed: {record['error']}" in done.stdout
  assert "edm-float32: measured already" not in done.stdout
  assert "edm-float32: failed before" in done.stdout


def test_without_pytorch_the_comparisons_are_left_out(tmp_path):
  flags = ["--parts", "edm-float32"]
  done = subprocess.run(command(tmp_path, *flags), **options(), check=False)
  assert done.returncode == 0
  assert "edm-float32: left out, as it needs --torch-python" in done.stdout


@pytest.mark.parametrize(("fits", "size"), [(2, 2), (0, None)])
def test_the_batch_is_halved_until_it_fits(tmp_path, monkeypatch, fits, size):
  monkeypatch.chdir(REPOSITORY)
  part = Part("hungry", "tests.hungry_part", (f"--fits={fits}",), 4, 5)
  jobs = Jobs(tmp_path / "logs", minutes=5)
  measure(part, jobs, tmp_path, argparse.Namespace())
  record = json.loads((tmp_path / "hungry.json").read_text())
  assert record.get("batch_size") == size
  assert ("RESOURCE_EXHAUSTED" in record.get("error", "")) == (size is None)


def test_no_part_begins_when_the_time_is_up(tmp_path):
  part = Part("hungry", "tests.hungry_part", (), 1, 5)
  measure(part, Jobs(tmp_path / "logs", 0), tmp_path, argparse.Namespace())
  assert not (tmp_path / "hungry.json").exists()


def test_the_table_says_what_was_compared():
  by_name = {part.name: part for part in parts(small=False)}
  records = {
    by_name["edm-float32-compiled"]: COMPARED,
    by_name["dit-train"]: MEASURED,
    by_name["cascade-train"]: {"error": "ValueError: no"},
  }
  text = table(records, "python -m launch.gpu")
  for line in (
    "NVIDIA H100, driver 570.1, JAX 0.10.2, cuDNN 9.1",
    "PyTorch 2.13.0, cuDNN 91000",
    "    python -m launch.gpu",
    "| float32, TF32, torch.compile | float32, TF32 | 256 | Heun, 18 steps "
    "| 50 | 75 | 1.50 | 3.0 GiB |",
    "| dit-train (`configs/imagenet256.py`) | bfloat16 | 512 | 1234 | 25.6 % "
    "| 2.0 GiB | - | yes | 61 |",
    "MFU in bfloat16: of 989 TFLOP/s, data sheet of H100.",
    "cascade-train failed: ValueError: no",
  ):
    assert line in text.split("\n")


def test_every_part_has_a_name_of_its_own_and_a_program():
  for small in (True, False):
    found = parts(small)
    assert len({part.name for part in found}) == len(found)
    assert {part.module for part in found} == {COMPARISON, PROGRAM}
