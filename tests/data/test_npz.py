"""Arrays in an .npz as a data set, and from memory."""

import io
import itertools
import zipfile

import numpy as np
import pytest

from lowdiff_jax.data import npz, pipeline, source
from lowdiff_jax.data.splits import from_arrays
from lowdiff_jax.types import NO_LABEL, UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), np.uint8)
LABELS = np.arange(12) % 3


def save(path, compressed=False, **arrays):
  (np.savez_compressed if compressed else np.savez)(path, **arrays)
  return path


def open_set(path, **kwargs):
  return source.open_splits(f"npz:{path}", resolution=8, **kwargs)


def everything(splits):
  batches = [split.read(np.arange(len(split))) for split in splits]
  return [np.concatenate(column) for column in zip(*batches, strict=True)]


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("names", [("arr_0", "arr_1"), ("images", "labels")])
def test_images_and_labels(names, compressed, tmp_path):
  arrays = dict(zip(names, (IMAGES, LABELS), strict=True))
  path = save(tmp_path / "a.npz", compressed, **arrays)
  splits = open_set(path)
  assert splits[0].spec == (8, 3, 3)
  assert [len(split) for split in splits] == [9, 3]
  images, labels = everything(splits)
  np.testing.assert_array_equal(
    images[np.lexsort(images.reshape(12, -1).T)],
    IMAGES[np.lexsort(IMAGES.reshape(12, -1).T)],
  )
  label = dict(zip(map(bytes, IMAGES), LABELS, strict=True))
  assert [label[bytes(image)] for image in images] == labels.tolist()


def test_what_is_not_compressed_stays_on_the_disk(tmp_path):
  opened = npz.open_images(save(tmp_path / "a.npz", images=IMAGES))
  assert isinstance(opened, np.memmap)
  np.testing.assert_array_equal(opened, IMAGES)


def test_gray_without_labels_and_larger_than_the_model(tmp_path):
  large = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 1), np.uint8)
  splits = open_set(save(tmp_path / "a.npz", images=large), hold_out=0)
  assert splits[0].spec == (8, 1, 0)
  batch = splits[0].read(np.arange(12))
  means = large.reshape(12, 8, 2, 8, 2, 1).mean((2, 4))
  np.testing.assert_allclose(batch.image, means, atol=1)
  assert (batch.label == NO_LABEL).all()


def test_a_crop_is_asked_for(tmp_path):
  path = save(tmp_path / "a.npz", images=IMAGES.repeat(2, axis=2))
  with pytest.raises(UserError, match=r"16x8: make all .* crop='center'"):
    open_set(path)
  assert open_set(path, crop="center")[0].read([0]).image.shape == (1, 8, 8, 3)


@pytest.mark.parametrize(
  ("arrays", "said"),
  [
    ({"x": IMAGES}, "has no array arr_0 or images"),
    ({"images": IMAGES / 255}, r"float64 \(12, 8, 8, 3\), expected uint8"),
    ({"images": IMAGES * np.nan}, "float64 .* expected uint8"),
    ({"images": IMAGES[..., 0]}, r"\(12, 8, 8\), expected uint8 \[N,H,W,C\]"),
    ({"images": IMAGES[..., :2]}, "12 images of 2 channels: expected at least"),
    ({"images": IMAGES[:3]}, "3 images of 3 channels: expected at least 4"),
    ({"images": IMAGES[:0]}, "it holds no image"),
    ({"images": IMAGES[:, :4, :4]}, "4x4, smaller than the model's 8x8"),
    ({"images": np.asfortranarray(IMAGES)}, "Fortran"),
    ({"images": np.array([None] * 4)}, "object .* expected uint8"),
    ({"images": IMAGES, "labels": LABELS[:5]}, r"labels are int64 \(5,\)"),
    ({"images": IMAGES, "labels": LABELS - 1}, "label of image 0 is -1"),
    ({"images": IMAGES, "labels": LABELS + 1e9}, "label of image 0 is 1000000"),
    ({"images": IMAGES, "labels": LABELS * np.nan}, "label of image 0 is nan"),
    ({"images": IMAGES, "labels": np.eye(12)}, r"labels are float64 \(12, 12"),
    ({"images": IMAGES, "labels": np.array(["a"] * 12)}, "labels are"),
    ({"images": IMAGES, "labels": np.array([{}] * 12)}, "cannot be read"),
  ],
)
def test_wrong_arrays(arrays, said, tmp_path):
  with pytest.raises(UserError, match=said) as error:
    open_set(save(tmp_path / "a.npz", **arrays))
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("damage", ["flip", "cut", "text", "gone"])
def test_damaged_files(damage, compressed, tmp_path):
  path = save(tmp_path / "a.npz", compressed, images=IMAGES)
  data = bytearray(path.read_bytes())
  if damage == "gone":
    path.unlink()
  elif damage == "flip":
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
  else:
    path.write_bytes(data[:500] if damage == "cut" else b"text")
  with pytest.raises(UserError, match=r"a\.npz"):
    open_set(path)


def test_an_array_that_claims_more_than_is_there(tmp_path):
  path, header = tmp_path / "a.npz", io.BytesIO()
  shape = (10**9, 64, 64, 3)
  np.lib.format.write_array_header_1_0(
    header, {"descr": "|u1", "fortran_order": False, "shape": shape}
  )
  for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", kind) as archive:
      archive.writestr("images.npy", header.getvalue() + bytes(1000))
      archive.writestr("other.npy", bytes(1000))
    with pytest.raises(UserError, match="cannot be read"):
      open_set(path)


def test_fewer_images_than_a_batch():
  """Batches go on with the next epoch."""
  data = from_arrays(IMAGES[:4], part_held_out=0.5)
  assert (len(data.train), len(data.test)) == (2, 2)
  batches = pipeline.batches(data.train, batch_size=7, seed=0)
  there = set(map(bytes, IMAGES[:4]))
  drawn = [bytes(x) for b in itertools.islice(batches, 2) for x in b.image]
  assert len(drawn) == 14 and len(set(drawn)) == 2 and set(drawn) <= there
  assert all(len(set(drawn[i : i + 2])) == 2 for i in range(0, 14, 2))


def test_arrays_hold_out_of_every_class():
  data = from_arrays(IMAGES, LABELS)
  assert sorted(data.test.batch.label) == [0, 1, 2]
  assert len(data.train) == 9


@pytest.mark.parametrize(
  ("labels", "said"),
  [
    ([0.5] * 12, "the label of image 0 is 0.5"),
    ([-2] * 12, "the label of image 0 is -2"),
    ([10**7] * 12, "the label of image 0 is 10000000: expected a class"),
    (["cat"] * 12, "labels are"),
    ([True] * 12, "labels are bool"),
  ],
)
def test_wrong_labels_of_arrays(labels, said):
  with pytest.raises(ValueError, match=said):
    from_arrays(IMAGES, labels)
