"""Tables of scores, and what does not compare."""

import json

import pytest

from lowdiff_jax.metrics import table
from lowdiff_jax.types import UserError


def record(fid=2.0, score=9.0, **protocol):
  return {
    "generated": {"fid": fid, "inception_score": score},
    "held_out": {"fid": 3.0, "inception_score": 11.0},
    "protocol": {
      "images": 100,
      "indices": "0..99",
      "sampling": [{"nfe": 18}, {"nfe": 5}],
      "reference": {"file": "a.npz", "sha256": "a" * 64},
      **protocol,
    },
  }


def test_one_set_beside_held_out_images():
  lines = table.of_one(record()).splitlines()
  assert lines[0].split() == ["generated", "held", "out"]
  assert lines[1].split() == ["fid", "2", "3"]
  lines = table.of_one({**record(), "held_out": {}}).splitlines()
  assert lines[0].split() == ["generated"]
  assert lines[1].split() == ["fid", "2"]


def test_the_best_of_several_is_called_so(tmp_path):
  records = {
    tmp_path / f"{i}.json": record(fid, score, indices=f"{i}00..{i}99")
    for i, (fid, score) in enumerate([(2.0, 9.0), (1.0, 8.0), (3.0, 10.0)])
  }
  summary = table.summary(records)
  assert summary["ranges"] == ["000..099", "100..199", "200..299"]
  assert summary["files"] == ["0.json", "1.json", "2.json"]
  assert summary["mean"] == {"fid": 2, "inception_score": 9}
  assert summary["std"] == {"fid": 1, "inception_score": 1}
  assert summary["best_of_3"] == {"fid": 1, "inception_score": 10}
  lines = table.of_summary(summary).splitlines()
  assert lines[0].split() == ["mean", "std", "best_of_3"]
  assert lines[1].split() == ["fid", "2", "1", "1"]


def write(root, name, value):
  path = root / "scores" / f"{name}.json"
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(value))


def test_runs_side_by_side(tmp_path):
  write(tmp_path / "a", "x", record())
  write(tmp_path / "a", "summary", {"mean": {}})
  other = record(1.5)
  del other["generated"]["inception_score"], other["protocol"]["sampling"]
  write(tmp_path / "b", "y", other)
  found = table.read([str(tmp_path / "a"), f"{tmp_path}/b/scores/y.json"])
  lines = table.of_several(found).splitlines()
  assert lines[0].split() == ["images", "NFE", "fid", "inception_score"]
  assert lines[1].split()[1:] == ["100", "18+5", "2", "9"]
  assert lines[2].split()[1:] == ["100", "-", "1.5", "-"]
  assert len(lines) == 3 and lines[1].startswith(f"{tmp_path}/a/scores/x.json")


def test_rows_that_do_not_compare_are_named():
  reference = {"file": "a.npz", "sha256": "b" * 64}
  records = {"x": record(), "y": record(images=200, reference=reference)}
  lines = table.of_several(records).splitlines()
  assert lines[3] == "not comparable: images is 100 or 200"
  assert lines[4].startswith(
    "not comparable: reference is aaaaaaaaaaaa... or b"
  )
  assert len(lines) == 5


def test_files_that_are_no_scores_are_named(tmp_path):
  with pytest.raises(UserError, match=r"gone.json cannot be read"):
    table.read([f"{tmp_path}/gone.json"])
  with pytest.raises(UserError, match="no score in"):
    table.read([str(tmp_path)])
