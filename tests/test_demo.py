"""The demo page: real clicks in a real browser, and what it refuses."""

import base64
import contextlib
import io
import socket
import urllib.error
import urllib.request

import jax
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import TimeoutError, expect

import lowdiff_jax as ld
from launch.local_processes import free_port
from lowdiff_jax.demo import __main__ as demo
from lowdiff_jax.demo import player, server
from lowdiff_jax.experiment import model_folder, named_models
from lowdiff_jax.experiment.trained import Trained
from lowdiff_jax.generate import grids
from lowdiff_jax.types import UserError
from tests import browser, tiny

# What an <img> shows, as a PNG in a data URL.
PIXELS = """async image => {
  const content = await (await fetch(image.src)).blob();
  return await new Promise(done => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.readAsDataURL(content);
  });
}"""


@pytest.fixture(scope="module")
def model(trained, tmp_path_factory):
  """A model folder, and one of a baseline of zeros beside it."""
  folder = tmp_path_factory.mktemp("demo") / "model"
  ld.load(trained[0]).export(folder)
  single = tiny.experiment("smoke,baseline")
  zeros = jax.tree.map(
    lambda leaf: np.zeros(leaf.shape, leaf.dtype), single.state_shapes.params
  )
  untrained = Trained(single, zeros, 0, 0)
  model_folder.write(untrained, folder.with_name("model-baseline"))
  return folder


@pytest.fixture(scope="module")
def page(model):
  return server.open_page(str(model))


@pytest.fixture(scope="module")
def served(page):
  blocks = server.serve(page, "127.0.0.1", free_port())
  yield blocks.local_url
  blocks.close()


@pytest.fixture(scope="module")
def chromium(served):
  with browser.chromium() as found:
    yield found


def click(shown, name):
  shown.get_by_role("button", name=name, exact=True).click()


def upload(shown, path):
  """Chooses a file to upscale, again if the page did not listen yet."""
  chosen = shown.locator("input[type=file]:not([disabled])").last
  name = shown.get_by_text(path.name).first
  for _ in range(4):
    chosen.set_input_files(path)
    with contextlib.suppress(TimeoutError):
      return name.wait_for(timeout=browser.PATIENCE / 4)
  raise AssertionError(f"{path.name} is not shown")


def shown_pixels(shown, k):
  """Picture k of the page, [H,W,3]."""
  image = shown.locator(".stage img:visible").nth(k)
  image.wait_for()
  _, _, data = image.evaluate(PIXELS).partition(",")
  with Image.open(io.BytesIO(base64.b64decode(data))) as opened:
    return np.asarray(opened.convert("RGB"), int)


def test_a_click_shows_every_stage_and_the_baseline(served, chromium, model):
  shown, errors = browser.opened(chromium, served)
  click(shown, "Generate")
  shown.get_by_text("as fast as the baseline").wait_for()
  assert shown.locator(".stage img:visible").count() == 3
  # They are the library's images, up to how a batch of another size rounds.
  samples = ld.load(model).sample(16, seed=0)
  for k, images in enumerate(samples.stages):
    expected = grids.grid(grids.enlarge(images, 8), 4)
    assert np.abs(shown_pixels(shown, k) - expected).max() <= 1
  cells = shown.locator(".times td:visible").all_inner_texts()
  assert cells[:2] == ["4x4", "3"] and cells[4:6] == ["8x8", "2"]
  assert cells[8:10] == ["cascade", "5"] and cells[13] == "5"
  shown.get_by_label("number input for Steps at 4x4").fill("1")
  click(shown, "Generate")
  evaluations = shown.locator(".times td:visible").nth(1)
  expect(evaluations).to_have_text("1", timeout=browser.PATIENCE)
  shown.context.grant_permissions(["clipboard-read", "clipboard-write"])
  shown.locator("#overrides button").click()
  copied = shown.evaluate("navigator.clipboard.readText()")
  assert "--config.stages.s4.steps=1" in copied
  assert "--config.stages.s8.start=noise" in copied
  assert not [error for error in errors if "favicon" not in error]


def test_uploads_are_upscaled_or_refused_in_words(served, chromium, tmp_path):
  shown, _ = browser.opened(chromium, served, browser.PHONE)
  assert browser.fits(shown)
  # The pictures are above the settings.
  top, below = (
    shown.get_by_text(text, exact=True).first.bounding_box()["y"]
    for text in ("Images", "Class")
  )
  assert top < below
  shown.get_by_role("tab", name="Upscale").click()
  (tmp_path / "bad.png").write_text("no picture")
  upload(shown, tmp_path / "bad.png")
  click(shown, "Upscale")
  shown.get_by_text("bad.png cannot be read: it is no image").wait_for()
  shown.reload()
  shown.get_by_role("tab", name="Upscale").click()
  Image.new("RGB", (40, 20), "white").save(tmp_path / "good.png")
  upload(shown, tmp_path / "good.png")
  click(shown, "Upscale")
  shown.locator(".times td:visible").get_by_text("cascade").wait_for()
  assert (shown_pixels(shown, 0) == 255).all()
  assert shown_pixels(shown, 1).shape == (52, 52, 3)


def test_two_users_at_once(served, chromium):
  pages = [browser.opened(chromium, served)[0] for _ in range(2)]
  for seed, shown in enumerate(pages):
    shown.get_by_label("Seed").fill(str(seed))
  for shown in pages:
    click(shown, "Generate")
  for shown in pages:
    shown.get_by_text("as fast as the baseline").wait_for()
  first, second = (shown_pixels(shown, 0) for shown in pages)
  assert first.shape == second.shape and (first != second).any()


def test_a_large_upload_is_refused(served):
  content = b"--x\r\nContent-Disposition: form-data; name=files; filename=a\r\n"
  content += b"\r\n" + bytes(11 * 2**20) + b"\r\n--x--\r\n"
  kind = {"Content-Type": "multipart/form-data; boundary=x"}
  address = f"{served}gradio_api/upload"
  request = urllib.request.Request(address, content, kind)
  with pytest.raises(urllib.error.HTTPError) as refused:
    urllib.request.urlopen(request, timeout=120)
  assert refused.value.code == 413


def test_each_stage_is_shown_once_it_has_run(page):
  values = (3, 40.0, 1, 2, "noise", 40.0, 1)
  steps = list(page.generate(-1, 0, 16, *values))
  pictures = [[p is not None for p in step[:3]] for step in steps]
  assert pictures == [[k < n for k in range(3)] for n in range(4)]


def test_what_a_form_may_not_ask_for(model, tmp_path):
  played = player.Player(named_models.find_trained(model, {}))
  subject = player.Subject(0, 3, 2)
  stages = played.with_fields({})
  for wrong, said in (
    ({"images": 37}, "images = 37: expected an integer of at least 1 and at"),
    ({"seed": -1}, "seed = -1: expected"),
    ({"seed": None}, "seed = None: expected"),
    ({"label": 10}, "class = 10: expected"),
  ):
    with pytest.raises(UserError, match=said):
      list(played.play(stages, subject._replace(**wrong)))
  with pytest.raises(UserError, match=r"s4\.steps = 101: expected"):
    played.with_fields({"stages.s4.steps": 101})
  with pytest.raises(UserError, match=r"s8\.sigma_max = None: expected"):
    played.with_fields({"stages.s8.sigma_max": None})
  Image.new("L", (3, 9)).save(tmp_path / "small.png")
  small = [str(tmp_path / "small.png")]
  for paths, side, said in (
    (small, 4, "small.png is 3x9: expected at least 4x4"),
    (17 * small, 4, "expected 1 to 16 pictures"),
    ([], 4, "expected 1 to 16 pictures"),
    (small, 8, "8x8 is no stage that another one follows"),
  ):
    with pytest.raises(UserError, match=said):
      played.read(paths, side)


def test_mistakes_are_one_line(model, tmp_path):
  with pytest.raises(UserError, match="holds no model"):
    demo.main([str(tmp_path)])
  with socket.socket() as taken:
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    port = taken.getsockname()[1]
    with pytest.raises(UserError, match=f"--port={port}: .*choose another"):
      demo.main([str(model), f"--port={port}"])
