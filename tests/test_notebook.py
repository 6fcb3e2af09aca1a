"""launch/colab.ipynb, run where the wheel is installed and no repository is."""

import base64
import io
import json
import re

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

import lowdiff_jax as ld
from tests import wheels
from tests.command_line import REPOSITORY

PATH = REPOSITORY / "launch" / "colab.ipynb"
# The sizes of the first cell, and the test's own.
SMALL = {
  "IMAGES": 5,
  "REPEATS": 1,
  "CANDIDATES": 2,
  "ROUNDS": 1,
  "SCORED": 8,
  "DIGITS": 64,
  "OWN": 32,
  "FINETUNED": 64,
}
# A row of ten columns of 8x8 images, of 32x32 ones: enlarged, with margins.
SMALL_ROW, ROW = (502, 52), (662, 68)
# Width and height of the images that a cell shows: five rows of stages.
IMAGES = {
  "sample": [(200, 332), ROW],
  "benchmark": [ROW],
  "tune": [SMALL_ROW],
  "upscale": [(200, 332)],
  "digits": [SMALL_ROW],
  "own": [(102, 252)],
  "edm": [(102, 252)],
}
TEXTS = {
  "devices": r"\[CpuDevice\(id=0\)\]",
  "benchmark": (
    r" images/s +cascade is +NFE .*\n"
    r"cascade +\d+\.\d +1\.00x .*\n"
    r"baseline, 6 steps of dpmpp_2m +\d+\.\d +\d+\.\d\dx +12 "
  ),
  "tune": (
    r" images/s +NFE  frechet_distance_of_8_images\n"
    r"config +[\d.]+ +10\+5 +[\d.]+\n"
    r"best +[\d.]+ +\d+\+\d+ +[\d.]+\n"
    r"the search scored \d+ images in \d+ s\n(?s:.*)"
    r"\{'stages\.s4\.sampler': '\w+',"
  ),
  "report": r"runs/digits/report\.html\s*$",
  "help": r"--mode",
}


@pytest.fixture(scope="module")
def notebook():
  return nbformat.read(PATH, as_version=4)


@pytest.fixture(scope="module")
def executed(notebook, installed, data_dir, tmp_path_factory):
  """The cells after a run with small sizes, by their ids."""
  root = tmp_path_factory.mktemp("notebook")
  kernel = root / "share" / "kernels" / "installed"
  kernel.mkdir(parents=True)
  launch = ["-m", "ipykernel_launcher", "-f", "{connection_file}"]
  spec = {
    "argv": [str(installed / "python"), *launch],
    "display_name": "installed",
    "language": "python",
  }
  (kernel / "kernel.json").write_text(json.dumps(spec))
  env = wheels.environment(
    IPYTHONDIR=str(root / "ipython"),
    JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
    TFDS_DATA_DIR=str(data_dir),
  )
  env["PATH"] = f"{installed}:{env['PATH']}"
  notebook = nbformat.from_dict(notebook)
  (at,) = (
    i
    for i, cell in enumerate(notebook.cells)
    if "parameters" in cell.metadata.get("tags", ())
  )
  sizes = "\n".join(f"{name} = {value}" for name, value in SMALL.items())
  notebook.cells.insert(at + 1, nbformat.v4.new_code_cell(sizes))
  (root / "work").mkdir()
  client = NotebookClient(
    notebook,
    timeout=300,
    kernel_name="installed",
    resources={"metadata": {"path": str(root / "work")}},
  )
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("JUPYTER_PATH", str(root / "share"))
    client.execute(env=env)
  return {cell.id: cell for cell in notebook.cells}


def printed(cell):
  """What a cell prints, and the text of its value."""
  return "".join(
    output["text"]
    if output.output_type == "stream"
    else output.data["text/plain"]
    for output in cell.outputs
  )


def test_it_is_valid_and_has_no_outputs(notebook):
  nbformat.validate(notebook)
  assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
  for cell in notebook.cells:
    assert re.fullmatch(r"[a-z-]+", cell.id)
    assert not cell.get("outputs") and cell.get("execution_count") is None
    assert cell.cell_type != "code" or len(cell.source.splitlines()) <= 35


def test_it_uses_the_public_library_alone(notebook):
  sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
  text = "\n".join(sources)
  imported = re.findall(r"^.*\bimport\b.*lowdiff.*$", text, re.MULTILINE)
  assert imported == ["import lowdiff_jax as ld"]
  used = set(re.findall(r"\bld\.(\w+)", text))
  assert used and used <= set(ld.__all__)
  assert not re.search(r"\._[a-z]", text)
  names = re.findall(r"^([A-Z, ]+) = ", text, re.MULTILINE)
  assert set(SMALL) <= set(", ".join(names).split(", "))


def test_every_cell_ran(executed):
  cells = [cell for cell in executed.values() if cell.cell_type == "code"]
  assert all(cell.execution_count for cell in cells)
  for cell in cells:
    assert all(output.output_type != "error" for output in cell.outputs)


@pytest.mark.parametrize("name", IMAGES)
def test_cells_show_images(name, executed):
  shown = [
    Image.open(io.BytesIO(base64.b64decode(output.data["image/png"])))
    for output in executed[name].outputs
    if output.output_type == "display_data"
  ]
  assert [image.size for image in shown] == IMAGES[name]
  # None of one colour on white.
  assert all(len(image.convert("L").getcolors()) > 10 for image in shown)


@pytest.mark.parametrize("name", TEXTS)
def test_cells_print_tables(name, executed):
  assert re.search(TEXTS[name], printed(executed[name])), printed(
    executed[name]
  )
