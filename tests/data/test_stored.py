"""Finished images in folders and files."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from lowdiff_jax.data.stored import open_npz, open_stored
from lowdiff_jax.types import UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (10, 6, 6, 3), np.uint8)
SHAPE = (6, 6, 3)


def write_folder(root):
  for i, image in enumerate(PIXELS):
    path = root / f"{i % 2}" / f"{i:03d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
  return root


def everything(pictures, start=0):
  return np.concatenate([batch.image for batch in pictures.read(start)])


def test_a_folder_is_read_in_the_order_of_names(tmp_path):
  pictures, _ = open_stored(write_folder(tmp_path), 4, SHAPE)
  expected = np.concatenate([PIXELS[::2], PIXELS[1::2]])
  assert (pictures.count, pictures.batch_size) == (10, 4)
  np.testing.assert_array_equal(everything(pictures), expected)
  np.testing.assert_array_equal(everything(pictures, 8), expected[8:])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_array_is_read_from_anywhere(save, tmp_path):
  path = tmp_path / "pictures.npz"
  save(path, PIXELS, labels=np.arange(10))
  pictures, _ = open_stored(path, 4, None)
  assert [len(batch.label) for batch in pictures.read(0)] == [4, 4, 2]
  np.testing.assert_array_equal(everything(pictures), PIXELS)
  np.testing.assert_array_equal(everything(pictures, 4), PIXELS[4:])


def test_no_more_than_a_batch_is_in_memory(tmp_path):
  """An array that does not fit: zeros, which compress well."""
  path = tmp_path / "large.npz"
  header = io.BytesIO()
  shape = (1_000_000, 256, 256, 3)  # 183 GiB
  np.lib.format.write_array_header_1_0(
    header, {"descr": "|u1", "fortran_order": False, "shape": shape}
  )
  with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
    pixels = bytes(20 * 256 * 256 * 3)
    archive.writestr("arr_0.npy", header.getvalue() + pixels)
  pictures = open_npz(path, 10)
  batches = pictures.read(0)
  for _ in range(2):
    assert next(batches).image.shape == (10, 256, 256, 3)
  with pytest.raises(UserError, match=r"large.npz cannot be read"):
    next(batches)


def test_a_change_is_noticed(tmp_path):
  ids = {open_stored(write_folder(tmp_path), 4, SHAPE).id}
  ids.add(open_stored(tmp_path, 4, SHAPE).id)
  assert len(ids) == 1
  (tmp_path / "0" / "000.png").touch()
  assert open_stored(tmp_path, 4, SHAPE).id not in ids


def test_what_is_wrong_is_named(tmp_path):
  folder = write_folder(tmp_path / "folder")
  (tmp_path / "empty").mkdir()
  for name in ("text.txt", "text.npz"):
    (tmp_path / name).write_text("text")
  for path, said in (
    (tmp_path / "gone", "there is no .*gone"),
    (tmp_path / "gone.npz", r"there is no .*gone\.npz"),
    (tmp_path / "text.txt", "neither a folder nor an .npz nor a .zip"),
    (tmp_path / "empty", "no image in"),
    (tmp_path / "text.npz", "text.npz cannot be read"),
  ):
    with pytest.raises(UserError, match=said):
      open_stored(path, 4, SHAPE)
  Image.fromarray(PIXELS[0, :5, :5]).save(folder / "1" / "small.png")
  with pytest.raises(UserError, match=r"small.png is 5x5 .* expected 6x6"):
    everything(open_stored(folder, 4, None).images)
  (folder / "1" / "small.png").write_bytes(b"?")
  with pytest.raises(UserError, match=r"small.png cannot be read .* replace"):
    everything(open_stored(folder, 4, SHAPE).images)


def test_what_is_left_out_is_named(tmp_path, caplog):
  write_folder(tmp_path)
  (tmp_path / "0" / "a.heic").write_bytes(b"?")
  assert open_stored(tmp_path, 4, SHAPE).images.count == 10
  assert "left out 1 files" in caplog.text and "0/a.heic" in caplog.text


def test_a_zip_is_read_as_its_folder(tmp_path):
  write_folder(tmp_path / "set")
  with zipfile.ZipFile(tmp_path / "set.ZIP", "w") as archive:
    for file in (tmp_path / "set").rglob("*.png"):
      archive.write(file, file.relative_to(tmp_path / "set"))
  np.testing.assert_array_equal(
    everything(open_stored(tmp_path / "set.ZIP", 4, SHAPE).images),
    everything(open_stored(tmp_path / "set", 4, SHAPE).images),
  )


def test_a_cut_picture_is_named(tmp_path):
  write_folder(tmp_path)
  path = tmp_path / "1" / "003.png"
  path.write_bytes(path.read_bytes()[:-40])
  with pytest.raises(UserError, match=r"003.png cannot be read"):
    everything(open_stored(tmp_path, 4, SHAPE).images)


@pytest.mark.parametrize(
  ("arrays", "said"),
  [
    ({"x": PIXELS}, "has no array arr_0 or images"),
    ({"arr_0": PIXELS / 255}, "float64 .* expected uint8"),
    ({"images": PIXELS[:0]}, "it holds no image"),
    ({"images": PIXELS[0]}, r"uint8 \(6, 6, 3\), expected"),
    ({"images": PIXELS[:, :4]}, "is 6x4 with 3 channels, expected 6x6"),
    ({"images": PIXELS[..., :1]}, "with 1 channels, expected .* 3 channels"),
  ],
)
def test_wrong_arrays_are_named(arrays, said, tmp_path):
  np.savez(tmp_path / "a.npz", **arrays)
  with pytest.raises(UserError, match=said):
    open_stored(tmp_path / "a.npz", 4, SHAPE)


def test_a_damaged_array_is_named(tmp_path):
  path = tmp_path / "a.npz"
  np.savez(path, np.tile(PIXELS, (100, 1, 1, 1)))
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 1
  path.write_bytes(data)
  with pytest.raises(UserError, match=r"a.npz cannot be read"):
    everything(open_stored(path, 4, SHAPE).images)
