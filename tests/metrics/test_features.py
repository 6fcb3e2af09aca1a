"""Features in chunks: nothing lost, nothing twice, wherever it stopped."""

import numpy as np
import pytest

from lowdiff_jax.metrics import features as module
from lowdiff_jax.metrics.features import collect
from lowdiff_jax.types import Batch, ImageSet

COUNT, BATCH = 23, 4


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
  monkeypatch.setattr(module, "CHUNK", 7)  # So 8: two batches.


class KilledError(Exception):
  pass


def make_images(read=None, stop=COUNT):
  """Image i is all i; from `stop` on there is a kill. Notes what is read."""

  def batches(start):
    for first in range(start, COUNT, BATCH):
      if first >= stop:
        raise KilledError
      numbers = np.arange(first, min(first + BATCH, COUNT), dtype=np.uint8)
      if read is not None:
        read.extend(numbers)
      image = np.broadcast_to(
        numbers[:, None, None, None], (len(numbers), 2, 2, 3)
      )
      yield Batch(image, numbers.astype(np.int32))

  return ImageSet(COUNT, BATCH, batches)


def extract(images):
  return {"value": images[:, 0, 0, :2].astype(np.float32)}


@pytest.mark.parametrize("kept", [True, False])
def test_all_features_in_order(kept, tmp_path):
  found = collect(make_images(), extract, tmp_path / "a" if kept else None, {})
  expected = np.repeat(np.arange(COUNT, dtype=np.float32)[:, None], 2, 1)
  for _ in range(2):  # They can be read again.
    np.testing.assert_array_equal(found.column("value"), expected)
  np.testing.assert_array_equal(found.column("label"), np.arange(COUNT))
  some = found.column("label", 5)
  np.testing.assert_array_equal(some, [0, 4, 9, 13, 18])
  assert found.images_per_second() > 0
  sizes = [len(chunk["label"]) for chunk in found.chunks()]
  assert sizes == [8, 8, 7]


def test_goes_on_where_it_was_killed(tmp_path):
  whole = collect(make_images(), extract)
  with pytest.raises(KilledError):
    collect(make_images(stop=20), extract, tmp_path, {"seed": 0})
  read = []
  found = collect(make_images(read), extract, tmp_path, {"seed": 0})
  assert read == list(range(16, COUNT))
  np.testing.assert_array_equal(found.column("value"), whole.column("value"))
  assert found.sha256() == whole.sha256()
  read.clear()
  collect(make_images(read), extract, tmp_path, {"seed": 0})
  assert not read


def test_other_settings_begin_anew(tmp_path):
  collect(make_images(), extract, tmp_path, {"seed": 0})
  read = []
  collect(make_images(read), extract, tmp_path, {"seed": 1})
  assert len(read) == COUNT


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone", "longer batches"])
def test_a_damaged_chunk_is_made_again(damage, tmp_path):
  collect(make_images(), extract, tmp_path, {})
  path = tmp_path / "00000008.npz"
  data = bytearray(path.read_bytes())
  if damage == "gone":
    path.unlink()
  elif damage == "longer batches":  # As if they had been 9 images.
    with np.load(path) as file:
      chunk = {name: file[name] for name in file.files}
    np.savez(path, **{**chunk, "label": np.arange(9)})
  else:
    where = data.find(np.float32(9).tobytes())
    data[where] ^= 1
    path.write_bytes(data[:100] if damage == "cut" else data)
  read = []
  found = collect(make_images(read), extract, tmp_path, {})
  assert read == list(range(8, COUNT))
  np.testing.assert_array_equal(found.column("label"), np.arange(COUNT))


def test_the_sum_is_of_the_images():
  other = make_images()._replace(
    read=lambda start: (
      batch._replace(image=batch.image + np.uint8(batch.label[0] == 20))
      for batch in make_images().read(start)
    )
  )
  assert (
    collect(other, extract).sha256() != collect(make_images(), extract).sha256()
  )
