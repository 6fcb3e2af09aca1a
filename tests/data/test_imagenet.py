"""ImageNet from tars of its structure with a few small images."""

import io
import tarfile

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from lowdiff_jax.data import images
from lowdiff_jax.data.datasets import imagenet
from lowdiff_jax.data.source import open_splits
from lowdiff_jax.types import UserError

# Of TFDS's lists: classes 0, 1 and 388, and the labels of the first three
# validation images.
CLASSES = {"n02510455": 388, "n01440764": 0, "n01443537": 1}
VALIDATION_LABELS = [65, 970, 230]


def picture(seed, size=(12, 10), mode="RGB", format="JPEG"):
  """The bytes of a image of random pixels."""
  pixels = np.random.default_rng(seed).integers(
    0, 256, (*size[::-1], 3), np.uint8
  )
  stream = io.BytesIO()
  Image.fromarray(pixels).convert(mode).save(stream, format)
  return stream.getvalue()


def tar(files):
  stream = io.BytesIO()
  with tarfile.open(fileobj=stream, mode="w") as archive:
    for name, content in files.items():
      info = tarfile.TarInfo(name)
      info.size = len(content)
      archive.addfile(info, io.BytesIO(content))
  return stream.getvalue()


# A grey image, one in CMYK, a PNG that is named a JPEG; not in order.
TRAIN = {
  synset: {
    f"{synset}_20.JPEG": picture(10 * i, (30, 20)),
    f"{synset}_10.JPEG": picture(10 * i + 1, (9, 40), "L"),
    f"{synset}_3.JPEG": picture(10 * i + 2, mode="CMYK"),
    f"{synset}_4.JPEG": picture(10 * i + 3, (6, 7), format="PNG"),
  }
  for i, synset in enumerate(CLASSES)
}
VALIDATION = {
  f"ILSVRC2012_val_{i:08d}.JPEG": picture(100 + i) for i in (2, 3, 1)
}


def train_tar(classes=TRAIN):
  return tar({f"{name}.tar": tar(files) for name, files in classes.items()})


@pytest.fixture
def manual(tmp_path):
  """TFDS's manual folder with both tars."""
  folder = tmp_path / "downloads" / "manual"
  folder.mkdir(parents=True)
  (folder / imagenet.TRAIN).write_bytes(train_tar())
  (folder / imagenet.VALIDATION).write_bytes(tar(VALIDATION))
  return folder


def open_set(manual, crop="adm"):
  """By the name that a config gives; the sets, in memory, need no tar."""
  return open_splits(
    "tfds:imagenet2012",
    resolution=8,
    crop=crop,
    data_dir=str(manual.parents[1]),
  )


def pixels(content):
  """Of a image that Pillow opens and ADM crops."""
  image = Image.open(io.BytesIO(content)).convert("RGB")
  return np.asarray(images.adm_crop(image, 8))


def test_tars_give_the_pictures_that_are_in_them(manual):
  train, test = open_set(manual)
  assert train.spec == test.spec == (8, 3, 1000)
  assert train.class_names[388] == "n02510455"
  expected = [
    (pixels(files[name]), CLASSES[synset])
    for synset, files in sorted(TRAIN.items())
    for name in sorted(files)
  ]
  batch = train.read(range(len(train)))
  assert batch.label.tolist() == [label for _, label in expected]
  np.testing.assert_array_equal(batch.image, [image for image, _ in expected])
  batch = test.read(range(len(test)))
  assert batch.label.tolist() == VALIDATION_LABELS
  np.testing.assert_array_equal(
    batch.image, [pixels(VALIDATION[name]) for name in sorted(VALIDATION)]
  )


with tfds.core.registered.skip_registration():  # TFDS has one of this name.

  class Imagenet2012(tfds.core.GeneratorBasedBuilder):
    """What TFDS makes of the tars, by its own names; two images a split."""

    VERSION = tfds.core.Version("5.1.0")

    def _info(self):
      features = {
        "image": tfds.features.Image(),
        "label": tfds.features.ClassLabel(num_classes=1000),
      }
      features = tfds.features.FeaturesDict(features)
      return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
      del dl_manager
      labels = {"train": 388, "validation": 7, "test": -1}
      return {k: self._generate_examples(v) for k, v in labels.items()}

    def _generate_examples(self, label):
      for i in range(2):
        yield i, {"image": Image.new("RGB", (6, 7)), "label": label}


def test_a_prepared_set_is_read_instead(manual):
  """Even without tars; its test split has no labels."""
  builder = Imagenet2012(data_dir=manual.parents[1])
  builder.download_and_prepare(file_format="array_record")
  (manual / imagenet.TRAIN).unlink()
  train, test = open_set(manual)
  assert train.batch.label.tolist() == [388, 388]
  assert test.batch.label.tolist() == [7, 7]
  assert test.batch.image.shape == (2, 8, 8, 3)


def test_an_index_is_used_as_long_as_the_tar_is_the_same(manual, capsys):
  path = manual / imagenet.TRAIN
  before = open_set(manual)[0].batch
  assert str(path) in capsys.readouterr().out
  after = open_set(manual)[0].batch
  assert capsys.readouterr().out == ""
  np.testing.assert_array_equal(after.image, before.image)
  # One class less, in a tar of the same size.
  less = train_tar({k: v for k, v in TRAIN.items() if CLASSES[k]})
  path.write_bytes(less.ljust(path.stat().st_size, b"\0"))
  assert len(open_set(manual)[0]) == 8
  assert str(path) in capsys.readouterr().out
  index = manual / f"{imagenet.TRAIN}.index.npz"
  index.write_bytes(index.read_bytes()[:50])
  assert len(open_set(manual)[0]) == 8
  assert str(path) in capsys.readouterr().out


def test_an_index_that_cannot_be_kept(manual, caplog):
  """A folder stands where it would be; tests may run as root."""
  index = manual / f"{imagenet.TRAIN}.index.npz"
  index.mkdir()
  assert len(open_set(manual)[0]) == 12
  assert f"cannot keep {index}" in caplog.text
  assert not list(manual.glob("tmp*"))


def test_fetched_by_hand(tmp_path):
  with pytest.raises(UserError) as error:
    open_splits("tfds:imagenet2012", resolution=8, data_dir=str(tmp_path))
  for part in (
    imagenet.TRAIN,
    imagenet.VALIDATION,
    "https://image-net.org (registration needed)",
    str(tmp_path / "downloads" / "manual"),
  ):
    assert part in str(error.value)
  assert "\n" not in str(error.value)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_tar_that_is_cut_off(manual, part):
  for name in (imagenet.TRAIN, imagenet.VALIDATION):
    path = manual / name
    whole = path.read_bytes()
    # Without the blocks of zeros that fill it up.
    size = len(whole.rstrip(b"\0"))
    path.write_bytes(whole[: int(part * size)])
    with pytest.raises(UserError, match=f"{path} is damaged or cut off at by"):
      open_set(manual)
    path.write_bytes(whole)


def test_a_damaged_header_is_not_taken_for_the_end(manual):
  path = manual / imagenet.TRAIN
  whole = path.read_bytes()
  path.write_bytes(whole.replace(b"n01440764_3.JPEG", b"n01440764_4.JPEG"))
  with pytest.raises(UserError, match=rf"{path} is damaged .*bad checksum"):
    open_set(manual)


def test_other_tars(manual):
  path = manual / imagenet.TRAIN
  path.write_bytes(train_tar({"cats": TRAIN["n01440764"]}))
  with pytest.raises(
    UserError, match=f"{path} holds cats.tar, which is no cla"
  ):
    open_set(manual)
  path.write_bytes(train_tar())
  path = manual / imagenet.VALIDATION
  path.write_bytes(tar({"ILSVRC2012_val_00050001.JPEG": picture(0)}))
  with pytest.raises(UserError, match=rf"{path} holds ILSVRC2012_val_00050001"):
    open_set(manual)


def test_a_damaged_picture_is_named(manual):
  content = picture(0, (64, 64))
  files = {"n01440764_1.JPEG": content[: len(content) // 2]}
  path = manual / imagenet.TRAIN
  path.write_bytes(train_tar({"n01440764": files}))
  message = rf"{path}: n01440764_1\.JPEG cannot be read \(.*truncated"
  with pytest.raises(UserError, match=message):
    open_set(manual)


def test_another_crop_does_not_enlarge(manual):
  with pytest.raises(UserError, match=r"_4\.JPEG is 6x7, smaller than .* 8x8"):
    open_set(manual, crop="center")
